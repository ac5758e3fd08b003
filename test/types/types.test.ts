import { readFileSync, readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import ts from 'typescript'
import { expect, test } from 'vitest'

const directory = import.meta.dirname
const root = resolve(directory, '../..')
const cases = readdirSync(directory).filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts') && file !== 'same.ts')

/** What is wrong with each file; a `@ts-expect-error` above what compiles is wrong too. */
function complaints(files: string[]): Map<string, string[]> {
  const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile) as { config: object }
  const { options } = ts.parseJsonConfigFileContent({ ...config, files }, ts.sys, root)
  const program = ts.createProgram(files, { ...options, noUnusedLocals: false })
  return new Map(
    files.map((file) => {
      const found = ts.getPreEmitDiagnostics(program, program.getSourceFile(file))
      return [file, found.map((one) => `${lineOf(one)}: ${ts.flattenDiagnosticMessageText(one.messageText, ' ')}`)]
    })
  )
}

function lineOf({ file, start }: ts.Diagnostic): number {
  return file === undefined ? 0 : file.getLineAndCharacterOfPosition(start ?? 0).line + 1
}

const complained = complaints(cases.map((file) => join(directory, file)))

test.each(cases)('%s means what it says to the compiler', (file) => {
  expect(complained.get(join(directory, file))).toEqual([])
  expect(readFileSync(join(directory, file), 'utf8')).toContain('@ts-expect-error')
})

test('types that differ are told apart', () => {
  const file = join(directory, 'same.ts')
  const wrong = join(directory, 'wrong.ts')
  const text = `import { same } from './same.js'\nsame<string, any>()\nsame<1, number>()\nsame<string, string>()\n// @ts-expect-error nothing is wrong here\nsame<{ a: 1 }, { a: 1 }>()`
  const read = ts.sys.readFile
  ts.sys.readFile = (path, encoding) => (path === wrong ? text : read(path, encoding))
  try {
    expect(complaints([file, wrong]).get(wrong)).toEqual([
      expect.stringMatching(/^2: Expected 1 arguments/),
      expect.stringMatching(/^3: Expected 1 arguments/),
      expect.stringMatching(/^5: Unused '@ts-expect-error'/),
    ])
  } finally {
    ts.sys.readFile = read
  }
})
