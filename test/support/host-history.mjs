// One process that reads and writes at random, beside a database that is a file of version numbers.
import { openSync, readSync, writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { BentoCache, bentostore } from 'bentocache'
import { hostDriver } from 'bentocache/drivers/host'
import { memoryDriver } from 'bentocache/drivers/memory'

const { directory, database, file, mine, keys } = JSON.parse(process.argv.at(-1))

const store = bentostore().useL1Layer(memoryDriver()).useL2Layer(hostDriver({ directory, maxSize: '64mb' }))
const cache = new BentoCache({ default: 'history', stores: { history: store } })
const db = openSync(database, 'r+')
const out = openSync(file, 'a')
const now = () => Number(process.hrtime.bigint() / 1_000n)
/** At once, so that a kill loses nothing that was acknowledged. */
const write = (record) => writeSync(out, JSON.stringify(record) + '\n')

let isRecording = false
let recording = Promise.resolve()

export const warm = () => cache.get('warm-up')

export function start() {
  isRecording = true
  recording = Promise.all([loop(), loop(), loop(), loop()])
}

export async function stop() {
  isRecording = false
  await recording
}

async function loop() {
  while (isRecording) {
    const key = Math.floor(Math.random() * keys)
    try {
      // Each key has one writer, so that its versions only grow.
      if (mine.includes(key) && Math.random() < 0.3) await update(key)
      else for (let i = 0; i < 20; i++) await read(key)
    } catch (error) {
      write({ kind: 'error', code: error.code ?? String(error) })
    }
    await sleep(Math.random() * 2)
  }
}

async function read(key) {
  const start = now()
  const { version } = await cache.getOrSet(
    `key-${key}`,
    async () => {
      const version = versionOf(key)
      await sleep(Math.random() * 5)
      return { version }
    },
    { ttl: '1h', tags: [`tag-${key}`] }
  )
  write({ kind: 'read', pid: process.pid, key: `key-${key}`, start, version })
}

const updating = new Set()

async function update(number) {
  // One after the other: of two writes at the same time either may be the last.
  if (updating.has(number)) return
  updating.add(number)
  try {
    await change(number)
  } finally {
    updating.delete(number)
  }
}

async function change(number) {
  const version = versionOf(number) + 1
  writeSync(db, String(version).padStart(12), number * 12, 'latin1')
  const key = `key-${number}`
  const how = ['delete', 'set', 'expire', 'tag'][Math.floor(Math.random() * 4)]
  if (how === 'delete') await cache.delete({ key })
  else if (how === 'set') await cache.set({ key, value: { version }, ttl: '1h', tags: [`tag-${number}`] })
  else if (how === 'expire') await cache.expire({ key })
  else await cache.deleteByTag({ tags: [`tag-${number}`] })
  write({ kind: 'ack', pid: process.pid, key, at: now(), version, how })
}

function versionOf(key) {
  const bytes = Buffer.alloc(12)
  readSync(db, bytes, 0, 12, key * 12)
  return Number(bytes.toString('latin1'))
}
