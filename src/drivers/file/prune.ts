import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { readKept, removeKept } from './kept.js'
import { isDraft } from './paths.js'

/** A draft this old was left behind by a process that died. */
const DRAFT_LIFE = 600_000

/** Removes what has expired and what cannot be read, from the tree below. */
export async function pruneTree(directory: string, now: number): Promise<void> {
  const found = await readdir(directory, { withFileTypes: true }).catch((error) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return []
    throw error
  })
  const files = found.filter((entry) => entry.isFile()).map(({ name }) => name)
  await Promise.all(files.map((name) => pruneFile(join(directory, name), isDraft(name), now)))
  for (const entry of found) if (entry.isDirectory()) await pruneTree(join(directory, entry.name), now)
}

async function pruneFile(path: string, isDraft: boolean, now: number): Promise<void> {
  if (isDraft) {
    const writtenAt = await stat(path).then(({ mtimeMs }) => mtimeMs, () => Infinity)
    if (writtenAt + DRAFT_LIFE < Date.now()) await removeKept(path)
    return
  }
  const kept = await readKept(path)
  if (kept === 'corrupt' || (kept !== undefined && kept.deadAt <= now)) await removeKept(path)
}
