// @ts-check
/**
 * The public surface: every name a user can import from any subpath, and its members. It is kept in
 * surface.txt, so that a change of it is seen in review and cannot happen without a word in CHANGELOG.md.
 *
 *   node scripts/surface.mjs            fails if the surface is not the one that is written down
 *   node scripts/surface.mjs --update   writes it down; asks for a changelog entry first
 */
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import ts from 'typescript'
import { publicDoors } from './floors.mjs'

const directory = resolve(import.meta.dirname, '..')
const recordFile = join(directory, 'scripts/surface.txt')
const HEAD = '# Written by `npm run surface -- --update`. Changelog at that time: '

const surface = describeSurface()
const record = existsSync(recordFile) ? readFileSync(recordFile, 'utf8') : ''
const [head = '', ...recorded] = record.trimEnd().split('\n')
const changes = difference(recorded, surface)

const missing = surface.filter((line) => line.includes(' is missing: '))

if (missing.length > 0) {
  fail(`package.json exports what is not there:\n${missing.join('\n')}`)
} else if (changes.length === 0) {
  console.log(`surface: ${surface.length} names, as written down`)
} else if (!process.argv.includes('--update')) {
  show(changes)
  fail(
    'The public surface is not the one in scripts/surface.txt. If that is meant: ' +
      'say in CHANGELOG.md what changes for users, then `npm run surface -- --update`.'
  )
} else if (head === HEAD + changelogNow()) {
  show(changes)
  fail("CHANGELOG.md's newest section is as it was when the surface was last written down: say there what changes.")
} else {
  writeFileSync(recordFile, [HEAD + changelogNow(), ...surface, ''].join('\n'))
  console.log(`surface: ${changes.length} changes written down`)
}

/** One line per name: the subpath, then what it is. */
function describeSurface() {
  const doors = publicDoors(directory)
  const { options } = readConfig()
  const program = ts.createProgram([...doors.values()].map((door) => join(directory, 'src', door)), options)
  const checker = program.getTypeChecker()
  return [...doors].flatMap(([subpath, door]) => {
    const file = program.getSourceFile(join(directory, 'src', door))
    const symbol = file && checker.getSymbolAtLocation(file)
    if (symbol === undefined) return [`${subpath} is missing: src/${door}`]
    return checker
      .getExportsOfModule(symbol)
      .flatMap((exported) => describe(checker, exported))
      .map((line) => `${subpath} ${line}`)
      .toSorted()
  })
}

/** A name, and those of its members that our own source declares. @returns {string[]} */
function describe(/** @type {ts.TypeChecker} */ checker, /** @type {ts.Symbol} */ exported) {
  const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported
  const { name } = exported
  const { flags } = symbol
  const members = new Set()
  if (flags & ts.SymbolFlags.Module) {
    for (const member of checker.getExportsOfModule(symbol)) members.add(`::${member.name}`)
  } else {
    if (flags & ts.SymbolFlags.Type) addMembers(members, checker, checker.getDeclaredTypeOfSymbol(symbol), '.')
    if (flags & (ts.SymbolFlags.Class | ts.SymbolFlags.Variable)) addMembers(members, checker, checker.getTypeOfSymbol(symbol), '::')
  }
  return [`${kindOf(flags)} ${name}`, ...Array.from(members, (member) => `${kindOf(flags)} ${name}${member}`)]
}

/** @param {Set<string>} members @param {ts.TypeChecker} checker @param {ts.Type} type @param {string} mark */
function addMembers(members, checker, type, mark) {
  for (const member of checker.getPropertiesOfType(type)) {
    const [declaration] = member.declarations ?? []
    if (declaration === undefined || !isOurs(declaration) || isHidden(declaration)) continue
    members.add(`${mark}${member.name}${member.flags & ts.SymbolFlags.Optional ? '?' : ''}`)
  }
}

function isOurs(/** @type {ts.Declaration} */ declaration) {
  return declaration.getSourceFile().fileName.startsWith(join(directory, 'src'))
}

function isHidden(/** @type {ts.Declaration} */ declaration) {
  const name = ts.getNameOfDeclaration(declaration)
  if (name !== undefined && ts.isPrivateIdentifier(name)) return true
  return (ts.getCombinedModifierFlags(declaration) & ts.ModifierFlags.Private) !== 0
}

function kindOf(/** @type {number} */ flags) {
  if (flags & ts.SymbolFlags.Class) return 'class'
  if (flags & ts.SymbolFlags.Function) return 'function'
  if (flags & ts.SymbolFlags.Module) return 'namespace'
  if (flags & ts.SymbolFlags.Variable) return 'const'
  return 'type'
}

function readConfig() {
  const file = join(directory, 'tsconfig.build.json')
  return ts.parseJsonConfigFileContent(ts.readConfigFile(file, ts.sys.readFile).config, ts.sys, directory)
}

/** @param {string[]} before @param {string[]} after */
function difference(before, after) {
  const [old, now] = [new Set(before), new Set(after)]
  const gone = before.filter((line) => !now.has(line)).map((line) => `- ${line}`)
  return [...gone, ...after.filter((line) => !old.has(line)).map((line) => `+ ${line}`)]
}

/** Fingerprint of CHANGELOG.md's newest section. */
function changelogNow() {
  const file = join(directory, 'CHANGELOG.md')
  const [, newest = ''] = existsSync(file) ? readFileSync(file, 'utf8').split(/^## /m) : []
  return createHash('sha256').update(newest.trim()).digest('hex').slice(0, 12)
}

/** @param {string[]} changes */
function show(changes) {
  const most = 30
  console.error(changes.slice(0, most).join('\n'))
  if (changes.length > most) console.error(`… and ${changes.length - most} more`)
}

/** @param {string} message */
function fail(message) {
  console.error(message)
  process.exitCode = 1
}
