import { mkdir, readFile, rename, rm, stat, unlink, writeFile } from 'node:fs/promises'
import { dirname, relative, sep } from 'node:path'
import { asideOf, draftOf } from './paths.js'
import { Gate } from './gate.js'

/** What a file holds. `deadAt`: epoch ms, `Infinity` = kept for ever. */
export interface Kept {
  text: string
  deadAt: number
}

/** Files open at once in this process; the thread pool behind them is narrower still. */
const open = new Gate(32)

const NOT_A_FILE = new Set(['ENOENT', 'ENOTDIR', 'EISDIR', 'ENAMETOOLONG'])
const IN_THE_WAY = new Set(['ENOENT', 'ENOTDIR', 'EEXIST'])
/** Between two steps of ours others may have cleared or made directories: the write begins anew. */
const TRIES = 10

/** Undefined: there is no such file. `'corrupt'`: there is, but nobody of ours wrote it to its end. */
export async function readKept(path: string): Promise<Kept | 'corrupt' | undefined> {
  try {
    return parse(await open.pass(() => readFile(path, 'utf8')))
  } catch (error) {
    if (NOT_A_FILE.has(codeOf(error)) || (await isDirectory(path))) return undefined
    throw error
  }
}

/** All of it or nothing: a reader never sees half a file, nor does the next one after a crash. */
export async function writeKept(directory: string, path: string, { text, deadAt }: Kept): Promise<void> {
  const content = JSON.stringify([text, deadAt === Infinity ? -1 : deadAt])
  for (let tries = 1; ; tries++) {
    try {
      return await writeOnce(path, content)
    } catch (error) {
      if (tries === TRIES || !isInTheWay(error)) throw error
    }
    await makeWay(directory, path).catch((error) => {
      if (!isInTheWay(error)) throw error
    })
  }
}

/** Whether there was a file. */
export async function removeKept(path: string): Promise<boolean> {
  try {
    await unlink(path)
    return true
  } catch (error) {
    if (NOT_A_FILE.has(codeOf(error)) || (await isDirectory(path))) return false
    throw error
  }
}

async function writeOnce(path: string, content: string): Promise<void> {
  const draft = draftOf(path)
  const aside = asideOf(path)
  try {
    await open.pass(() => writeFile(draft, content, { flag: 'wx' }))
    await rm(aside, { recursive: true, force: true }) // first: after a crash in between it would outlive this file
    await rename(draft, path).catch(async (error) => {
      if (!(await isDirectory(path))) throw error
      await rename(draft, aside)
    })
  } catch (error) {
    await rm(draft, { force: true }).catch(() => {})
    throw error
  }
}

/** Makes the directories above a path. A directory gets the name, the file in its way goes beside it. */
async function makeWay(directory: string, path: string): Promise<void> {
  await mkdir(directory, { recursive: true })
  let above = directory
  for (const name of relative(directory, dirname(path)).split(sep)) {
    if (name === '') continue
    above += sep + name
    await mkdir(above).catch(async (error) => {
      if (codeOf(error) !== 'EEXIST') throw error
      if (await isDirectory(above)) return
      await rename(above, asideOf(above))
      await mkdir(above)
    })
  }
}

function isInTheWay(error: unknown): boolean {
  return IN_THE_WAY.has(codeOf(error))
}

async function isDirectory(path: string): Promise<boolean> {
  return stat(path).then((found) => found.isDirectory(), () => false)
}

function parse(content: string): Kept | 'corrupt' {
  try {
    const [text, deadAt] = JSON.parse(content)
    if (typeof text !== 'string') return 'corrupt'
    return { text, deadAt: typeof deadAt === 'number' && deadAt !== -1 ? deadAt : Infinity }
  } catch {
    return 'corrupt'
  }
}

function codeOf(error: unknown): string {
  return String((error as NodeJS.ErrnoException).code)
}
