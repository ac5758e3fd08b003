import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'
import { expect, test } from 'vitest'

/**
 * Every difference from 1.6.1 that is promised has a number, and a test whose title carries it in
 * brackets. Numbers: the numbered defects, A (architecture), D (races), N (found while the
 * contract was written), R (from the trackers of other caches), S (the surface).
 */
const ROWS = `
  1 A2 D-J  2 A1  3  4 A4  5  6  7  10 D-A D-B D-C D-D  D-E  11 D-F  12  13  N13  18  N7  N1  N2  N9  N25  N26
  19 A3  20  22 D-G  23  24  25  N8  26  D-H D-I  27  28  29  30  31  32a  32b  33  34  N10  N16  35  36  37
  40  41  42  43  44 A6  45 A5  N20  46 A7  47  48  N24  49  50  51  52 A8  N3  N5  N6  N11  N12  N14  N17  N18  N19  N23  N4
  R1  R2  R3  R5  R7  R8  R9  R10  R11  R12  R13  R14  R15  R16  R17
`.trim().split(/\s+/)

/** Those that only a test of a driver can cover, and where it is. */
const ROWS_OF_DRIVERS: Record<string, string> = {
  8: 'drivers/file',
  9: 'fleet/redis-edges',
  14: 'support/sql-suite',
  N15: 'support/sql-suite',
  15: 'support/sql-suite',
  16: 'drivers/database',
  17: 'drivers/database',
  38: 'support/sql-suite',
  39: 'drivers/file',
  N21: 'drivers/file',
  N22: 'drivers/file',
  R4: 'support/sql-suite',
  R6: 'drivers/file',
}

/** Those whose tests go by another name. */
const ROWS_BY_ANOTHER_NAME: Record<string, [file: string, title: RegExp][]> = {
  21: [['support/fleet-suite', /10 processes × 1,000 callers of one cold key: 1 run/]],
  S3: [
    ['package/package', /installing it adds two packages at most/],
    ['package/package', /publint finds nothing/],
    ['package/package', /every subpath has its types/],
    ['package/package', /every subpath can be imported without any peer/],
  ],
}

const TESTS = join(import.meta.dirname, '..')

/** file → the titles of its tests. */
const titles = new Map(
  readdirSync(TESTS, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !file.endsWith('rows.test.ts'))
    .map((file) => [file, titlesOf(readFileSync(join(TESTS, file), 'utf8'))])
)

test.each(ROWS)('there is a test of row %s', (row) => {
  expect([...titles.values()].flat().some((title) => carries(title, row))).toBe(true)
})

test.each(Object.entries(ROWS_OF_DRIVERS))('there is a test of row %s among those of %s', (row, file) => {
  expect(titlesIn(file).some((title) => carries(title, row))).toBe(true)
})

test.each(Object.entries(ROWS_BY_ANOTHER_NAME))('there is a test of row %s, by another name', (_, tests) => {
  for (const [file, title] of tests) expect(titlesIn(file).some((one) => title.test(one)), `${title}`).toBe(true)
})

function titlesIn(file: string): string[] {
  return [...titles].flatMap(([name, all]) => (name === `${file}.ts` || name === `${file}.test.ts` ? all : []))
}

/** Is the row one of those in the title's brackets: `[46] [A7] …`, `[10 D-A] …`, `[32a K] …`? */
function carries(title: string, row: string): boolean {
  return Array.from(title.matchAll(/\[([^\]]+)\]/g), ([, ids]) => ids!.split(' ')).some((ids) => ids.includes(row))
}

/** What stands where tests and groups of tests get their names; for a table, the texts in it as well. */
function titlesOf(code: string): string[] {
  const found: string[] = []
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && /^(test|describe)\b/.test(node.expression.getText())) {
      const [title] = node.arguments
      if (title !== undefined && (ts.isStringLiteralLike(title) || ts.isTemplateExpression(title))) found.push(title.getText())
      if (ts.isPropertyAccessExpression(node.expression) && node.expression.name.text === 'each') found.push(...textsIn(node))
    }
    ts.forEachChild(node, visit)
  }
  visit(ts.createSourceFile('test.ts', code, ts.ScriptTarget.Latest, true))
  return found
}

function textsIn(node: ts.Node): string[] {
  const found: string[] = []
  const visit = (inner: ts.Node): void => {
    if (ts.isStringLiteralLike(inner)) found.push(inner.text)
    ts.forEachChild(inner, visit)
  }
  visit(node)
  return found
}
