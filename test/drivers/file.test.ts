import { fork } from 'node:child_process'
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative, sep } from 'node:path'
import fc from 'fast-check'
import { FileDriver as Old } from '../../bench/node_modules/bentocache/build/src/drivers/file/file.js'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { storageCases } from '../../src/conformance/index.js'
import { FileDriver, fileDriver } from '../../src/drivers/file/file.js'
import { asideOf, pathOf } from '../../src/drivers/file/paths.js'

const home = mkdtempSync(join(tmpdir(), 'bentocache-file-'))
afterAll(() => rmSync(home, { recursive: true, force: true }))

let count = 0
let directory: string
beforeEach(() => {
  directory = join(home, `${++count}`)
})

const driverOf = (prefix = 'bentocache') => new FileDriver({ directory, prefix })
const oldOf = (prefix = 'bentocache') => new Old({ directory, prefix, pruneInterval: false })
const filesBelow = (path: string): string[] =>
  readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(path, join(entry.parentPath, entry.name)))

describe('every driver', () => {
  for (const { name, run } of storageCases) {
    test(name, () => run({ assert, createDriver: ({ prefix = 'kit' } = {}) => driverOf(prefix) }))
  }
})
