import { closeSync, fstatSync, openSync, readSync, statSync, writeFileSync, writeSync } from 'node:fs'

/** Which file a path led to, and how long it was. */
export interface MapFile {
  ino: number
  size: number
}

/** On Windows a file that is mapped cannot be cut, and one with holes would be filled. */
export const IS_SPARSE = process.platform !== 'win32'

/** How long an LMDB header stays the same whatever is written. */
const HEADER = 32
const SEAL = 128
/** Written out, because LMDB writes to it in memory, where a full disk is a SIGBUS: some 1000 readers. */
const LOCK_SIZE = 80 * 1_024
/** What LMDB needs to open a map, and some. */
const DESCRIPTORS = 6

/** undefined: gone, or out of reach. */
export function identify(path: string): MapFile | undefined {
  try {
    const stats = statSync(path, { throwIfNoEntry: false })
    return stats && { ino: stats.ino, size: stats.size }
  } catch {
    return undefined
  }
}

/** Why `before` is not to be read any more; undefined: it is as it was. */
export function changeOf(before: MapFile, after: MapFile | undefined): string | undefined {
  if (after === undefined) return 'the map is gone'
  if (after.ino !== before.ino) return 'the map was replaced'
  return after.size < before.size ? 'the map was cut' : undefined
}

/**
 * Ends the new, sparse file with who has made it and how it begins. Who finds them there finds a
 * whole file that its own LMDB can read; to try with any other is not an error but a SIGSEGV, and
 * to read where a file was cut a SIGBUS.
 */
export function seal(path: string, size: number, maker: string): void {
  if (!IS_SPARSE) return
  withFile(path, 'r+', (fd) => writeSync(fd, sealOf(fd, maker), 0, SEAL, size - SEAL))
}

export function isSealed(path: string, maker: string): boolean {
  return withFile(path, 'r', (fd) => {
    // On Windows there is no place for a seal, but what begins with zeros or text shall not be tried either.
    if (!IS_SPARSE) return readAt(fd, 0, HEADER).includes(MAGIC)
    const { size } = fstatSync(fd)
    return size > SEAL && readAt(fd, size - SEAL, SEAL).equals(sealOf(fd, maker))
  })
}

export function reserveLock(path: string): void {
  writeFileSync(path, Buffer.alloc(LOCK_SIZE), { mode: 0o600 })
}

/**
 * LMDB does not survive it when it cannot open what it needs.
 * @throws what the system throws
 */
export function checkOpenable(path: string): void {
  const fds: number[] = []
  try {
    while (fds.length < DESCRIPTORS) fds.push(openSync(path, 'r+'))
    // Not opened: closing it again would drop the locks that this process holds on it.
    const lock = statSync(`${path}-lock`, { throwIfNoEntry: false })
    if (lock !== undefined && !lock.isFile()) throw new Error(`${path}-lock is not a file`)
  } finally {
    fds.forEach(closeSync)
  }
}

const MAGIC = Buffer.from([0xde, 0xc0, 0xef, 0xbe])

function sealOf(fd: number, maker: string): Buffer {
  const seal = Buffer.alloc(SEAL)
  seal.write(maker, 0, SEAL - HEADER)
  readAt(fd, 0, HEADER).copy(seal, SEAL - HEADER)
  return seal
}

function readAt(fd: number, position: number, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  readSync(fd, bytes, 0, length, position)
  return bytes
}

function withFile<T>(path: string, flags: string, use: (fd: number) => T): T {
  const fd = openSync(path, flags)
  try {
    return use(fd)
  } finally {
    closeSync(fd)
  }
}
