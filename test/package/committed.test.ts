import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ROOT } from './packed.js'

/** Put together here, so that this file does not name what no file may name. */
const FORBIDDEN = {
  'a package registry': new RegExp(['registry', '\\.(npmjs|yarnpkg|npmmirror)', '|npm\\.pkg', '\\.github'].join(''), 'i'),
  'a path of somebody’s machine': new RegExp(`(^|[\\s"'\`(=:])/(${['work', 'root', 'home', 'Users', 'tmp'].join('|')})/[\\w.-]`, 'm'),
}

test.each(Object.entries(FORBIDDEN))('no file of the repository names %s', (_, pattern) => {
  const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: ROOT, encoding: 'utf8' })
  const texts = listed.split('\0').filter(Boolean).map((path) => ({ path, text: read(path) }))
  const naming = texts.filter(({ text }) => pattern.test(text)).map(({ path, text }) => `${path}: ${pattern.exec(text)![0].trim()}`)
  expect(texts.length).toBeGreaterThan(50)
  expect(naming).toEqual([])
})

/** Empty for what is listed and was removed since. */
function read(path: string): string {
  try {
    return readFileSync(join(ROOT, path), 'utf8')
  } catch {
    return ''
  }
}
