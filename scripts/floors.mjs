// @ts-check
/**
 * Fails if an import in src/ goes up or sideways (ARCHITECTURE.md, "Floors"), type imports included,
 * or if one of the other promises about who may know whom is broken.
 */
import { readFileSync, readdirSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { dirname, join, relative, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import ts from 'typescript'

/** @type {Record<string, number>} */
const FLOORS = { base: 0, drivers: 1, observe: 1, flight: 2, tier: 2, bus: 2, flow: 3, cache: 4, bento: 5 }
/** May import the public doors and their own folder, nothing else. */
const OUTSIDE = ['plugins', 'integrations', 'inspector', 'cli']
/** Contain re-exports only. */
const DOORS = ['index.ts', 'types.ts', 'test-suite.ts', 'conformance/index.ts']
/** Runs in browsers too: whatever these reach has no static import of a Node module. */
const CORE = ['index.ts', 'drivers/memory/memory.ts']
/** The one file that makes mechanisms, and the folders whose classes they are. */
const WIRE = 'cache/wire.ts'
const MECHANISMS = ['tier', 'flight', 'bus', 'observe']
/** Made where they are born: a flight departs in a flow; one hub serves all stores of a BentoCache. */
const VALUES = ['Flight', 'EventHub']

/**
 * @typedef {{ to: string, isLocal: boolean, isType: boolean, isStatic: boolean, line: number, names: string[] }} Import
 * @typedef {{ path: string, source: ts.SourceFile, imports: Import[] }} Module
 */

/**
 * What is wrong with the source below `root`, one sentence each.
 * @param {string} root @param {string[]} publicFiles the files that `exports` of package.json names
 */
export function findTrespasses(root, publicFiles) {
  const modules = readModules(root)
  const found = []
  for (const module of modules.values()) {
    for (const entry of module.imports) {
      const why = entry.isLocal ? refusal(module.path, entry.to, publicFiles) : undefined
      if (why !== undefined) found.push(`${module.path}:${entry.line} imports ${entry.to}: ${why}`)
    }
    if (DOORS.includes(module.path)) found.push(...nonExports(module))
    else found.push(...strayMakers(module))
  }
  return [...found, ...nodeInCore(modules), ...cycles(modules)]
}

/** @param {string} from @param {string} to @param {string[]} publicFiles */
function refusal(from, to, publicFiles) {
  if (DOORS.includes(from)) return undefined
  const [here, there] = [folderOf(from), folderOf(to)]
  if (OUTSIDE.includes(here)) {
    const own = here === 'integrations' ? from.split('/').slice(0, 2).join('/') : here
    return to.startsWith(`${own}/`) || publicFiles.includes(to) ? undefined : `${own}/ may use public doors only`
  }
  if (here === 'conformance') return there === here || there === 'base' ? undefined : 'conformance/ may use base/ only'
  const [floor, below] = [FLOORS[here], FLOORS[there]]
  if (floor === undefined) return `src/${here} is on no floor`
  if (below === undefined) return 'nothing on a floor may use it'
  if (here === there) return here === 'drivers' ? sidestep(from, to) : undefined
  if (below > floor) return `${here}/ (floor ${floor}) may not look up at ${there}/ (floor ${below})`
  if (below === floor) return `${here}/ and ${there}/ are on one floor and may not know each other`
  return undefined
}

/** One driver knows one technology. What lies in drivers/ itself is everybody's. */
function sidestep(/** @type {string} */ from, /** @type {string} */ to) {
  const [own, other] = [from.split('/').slice(1, -1)[0], to.split('/').slice(1, -1)[0]]
  return other === undefined || other === own ? undefined : `drivers/${other} is another driver`
}

/** @param {Module} module */
function nonExports({ path, source }) {
  return source.statements
    .filter((statement) => !(ts.isExportDeclaration(statement) && statement.moduleSpecifier !== undefined))
    .map((statement) => `${path}:${lineOf(source, statement)} is a public door and contains more than re-exports`)
}

/** @param {Module} module */
function strayMakers({ path, source, imports }) {
  if (path === WIRE) return []
  const mechanisms = new Set(
    imports
      .filter(({ to, isLocal }) => isLocal && MECHANISMS.includes(folderOf(to)) && folderOf(to) !== folderOf(path))
      .flatMap(({ names }) => names)
      .filter((name) => !VALUES.includes(name))
  )
  /** @type {string[]} */
  const found = []
  walk(source, (node) => {
    if (!ts.isNewExpression(node) || !ts.isIdentifier(node.expression) || !mechanisms.has(node.expression.text)) return
    found.push(`${path}:${lineOf(source, node)} says new ${node.expression.text}: only ${WIRE} makes it`)
  })
  return found
}

/** @param {Map<string, Module>} modules */
function nodeInCore(modules) {
  const reached = new Set(CORE)
  for (const path of reached) {
    for (const entry of modules.get(path)?.imports ?? []) {
      if (entry.isLocal && entry.isStatic && !entry.isType) reached.add(entry.to)
    }
  }
  return [...reached].flatMap((path) =>
    (modules.get(path)?.imports ?? [])
      .filter(({ to, isStatic, isType }) => isStatic && !isType && (to.startsWith('node:') || builtinModules.includes(to)))
      .map(({ to, line }) => `${path}:${line} imports ${to}: the core must run without Node`)
  )
}

/** @param {Map<string, Module>} modules */
function cycles(modules) {
  /** @type {string[]} */
  const found = []
  /** @type {Map<string, 'open' | 'done'>} */
  const state = new Map()
  const visit = (/** @type {string} */ path, /** @type {string[]} */ trail) => {
    if (state.get(path) === 'done') return
    if (state.get(path) === 'open') {
      found.push(`import cycle: ${[...trail.slice(trail.indexOf(path)), path].join(' → ')}`)
      return
    }
    state.set(path, 'open')
    for (const entry of modules.get(path)?.imports ?? []) if (entry.isLocal) visit(entry.to, [...trail, path])
    state.set(path, 'done')
  }
  for (const path of modules.keys()) visit(path, [])
  return found
}

/** @param {string} root @returns {Map<string, Module>} */
function readModules(root) {
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))
  return new Map(files.toSorted().map((path) => [path, readModule(root, path)]))
}

/** @param {string} root @param {string} path @returns {Module} */
function readModule(root, path) {
  const file = join(root, path)
  const source = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.Latest, true)
  /** @type {Import[]} */
  const imports = []
  const add = (/** @type {ts.Node} */ node, /** @type {ts.Node | undefined} */ specifier, kind = {}, /** @type {string[]} */ names = []) => {
    if (specifier === undefined || !ts.isStringLiteral(specifier)) return
    const isLocal = specifier.text.startsWith('.')
    const target = resolve(dirname(file), specifier.text.replace(/\.js$/, '.ts'))
    const to = isLocal ? relative(root, target) : specifier.text
    imports.push({ to, isLocal, isType: false, isStatic: true, line: lineOf(source, node), names, ...kind })
  }
  walk(source, (node) => {
    if (ts.isImportDeclaration(node)) {
      const bindings = node.importClause?.namedBindings
      const names = bindings !== undefined && ts.isNamedImports(bindings) ? bindings.elements.map((one) => one.name.text) : []
      add(node, node.moduleSpecifier, { isType: node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword }, names)
    } else if (ts.isExportDeclaration(node)) {
      add(node, node.moduleSpecifier, { isType: node.isTypeOnly })
    } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      add(node, node.argument.literal, { isType: true })
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      add(node, node.arguments[0], { isStatic: false })
    }
  })
  return { path, source, imports }
}

/** `''` for a file of src/ itself. */
function folderOf(/** @type {string} */ path) {
  return path.includes('/') ? /** @type {string} */ (path.split('/')[0]) : ''
}

function lineOf(/** @type {ts.SourceFile} */ source, /** @type {ts.Node} */ node) {
  return source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1
}

function walk(/** @type {ts.Node} */ node, /** @type {(node: ts.Node) => void} */ visit) {
  visit(node)
  ts.forEachChild(node, (child) => walk(child, visit))
}

/** The source files behind `exports` of package.json, by subpath; relative to src/. */
export function publicDoors(/** @type {string} */ directory) {
  /** @type {{ exports: Record<string, string> }} */
  const { exports } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'))
  const sources = Object.entries(exports).filter(([, file]) => file.endsWith('.js'))
  return new Map(sources.map(([subpath, file]) => [subpath, relative('dist', file).replace(/\.js$/, '.ts')]))
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const directory = resolve(import.meta.dirname, '..')
  const trespasses = findTrespasses(join(directory, 'src'), [...publicDoors(directory).values()])
  for (const trespass of trespasses) console.error(trespass)
  if (trespasses.length > 0) process.exitCode = 1
  else console.log('floors: every import goes down')
}
