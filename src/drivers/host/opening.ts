import { closeSync, linkSync, openSync, readFileSync, readSync, readdirSync, rmSync, statSync, writeSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isGone, owner } from './owner.js'

/**
 * LMDB keeps the number of the last commit in memory that all processes share, and whoever opens a
 * map sets it to what he has read from the file just before. Schedule: he reads 7; another process
 * commits 8 and 9; he sets 7; the next writer makes a new 8 out of what 9 has left, and the map is
 * destroyed. Another: the last who has it closes it, and destroys its locks, which somebody who is
 * just opening it takes for whole.
 *
 * So who opens says so, by one more name of the file, and waits for those who write or close; who
 * writes or closes says so, in a file of his own, and waits for those who open.
 */

/** What a map has of names while nobody opens it. */
const NAMES = 2
/** Opening takes some ms; whoever says longer that he is at it has died or was stopped. In ms. */
const LONGEST_OPENING = 1_000
/** Whoever says longer that he writes was stopped, or his event loop is blocked and the write long done. In ms. */
const LONGEST_WAIT = 250

/** The path is always the map's own name. `wasAlone`: nobody has written while it was opened. */
export function openBetweenWrites<T>(path: string, open: () => T): { opened: T; wasAlone: boolean } {
  // Once a process has it open, LMDB hands that out to its other threads and drivers, and sets nothing.
  const isOurs = notesOf('busy', path).some((note) => isOfOurProcess(note) && stateOf(note) !== CLOSING)
  if (isOurs) return { opened: open(), wasAlone: true }
  const fd = openSync(path, 'r')
  try {
    for (const end = Date.now() + LONGEST_WAIT; isWrittenTo(path) && Date.now() < end; ) Atomics.wait(SLEEPING, 0, 0, 1)
    const before = commitsOf(fd)
    const opened = open()
    return { opened, wasAlone: commitsOf(fd).equals(before) }
  } finally {
    closeSync(fd)
  }
}

/** @returns what ends it */
export function beginOpening(path: string): () => void {
  const name = noteOf('open', path, Date.now())
  linkSync(path, name)
  return () => rmSync(name, { force: true })
}

/** Whether a map is written to or closed, for those who open it. */
export class Writes {
  readonly #path: string
  readonly #note: string
  readonly #fd: number
  #count = 0
  #saidAt = 0
  #turn = Promise.resolve()
  #isClosing = false

  constructor(path: string, name: string) {
    this.#path = path
    this.#note = noteOf('busy', path, name)
    this.#fd = openSync(this.#note, 'w+', 0o600)
    this.#say(IDLE)
  }

  /**
   * Says so first and looks afterwards, as those who open do: one of two sees the other. In the
   * order of the calls. Schedule: a set waits for somebody who opens, the next set comes when he
   * has just finished; it must not be overwritten by the older one.
   */
  begin(): Promise<void> {
    const pass = () => this.#pass()
    this.#turn = this.#turn.then(pass, pass)
    return this.#turn
  }

  end(): void {
    this.#add(-1)
  }

  async close(closing: () => Promise<void>): Promise<void> {
    this.#isClosing = true
    for (this.#say(CLOSING); isOpened(this.#path); this.#say(CLOSING)) {
      this.#say(IDLE)
      await untilOpened(this.#path)
    }
    try {
      await closing()
    } finally {
      closeSync(this.#fd)
      rmSync(this.#note, { force: true })
    }
  }

  async #pass(): Promise<void> {
    for (this.#add(1); isOpened(this.#path); this.#add(1)) {
      this.#add(-1)
      await untilOpened(this.#path)
    }
  }

  #add(change: 1 | -1): void {
    this.#count += change
    if (this.#isClosing) return
    if (this.#count === 0) this.#say(IDLE)
    else if (this.#count === change || Date.now() - this.#saidAt > AGAIN) this.#say(BUSY)
  }

  #say(state: string): void {
    this.#saidAt = Date.now()
    try {
      writeSync(this.#fd, state, 0)
    } catch {
      // A disk that is full or gone: who opens sees by himself that he was not alone.
    }
  }
}

/** A note that nobody needs any more: of a process that is gone, or about another map. */
export function isOldNote(name: string, path: string): boolean {
  return /^(open|busy)-/.test(name) && (!name.endsWith(basename(path)) || isGone(ownerOf(name)))
}

const IDLE = '-'
const BUSY = 'w'
const CLOSING = 'c'
/** Where we cannot see who lives, in another container, an old note is somebody's last word. In ms. */
const LONGEST_NOTE = 10_000
const AGAIN = 1_000
const SLEEPING = new Int32Array(new SharedArrayBuffer(4))

/** Such as `open-1700000000000-4026531836-4711-815-0-map-….mdb`: what, since when or which, who, of which map. */
function noteOf(what: 'open' | 'busy', path: string, which: string | number): string {
  return join(dirname(path), `${what}-${which}-${owner.replaceAll('/', '-')}-${basename(path)}`)
}

function ownerOf(note: string): string {
  return basename(note).split('-').slice(2, 6).join('/')
}

function notesOf(what: 'open' | 'busy', path: string): string[] {
  const directory = dirname(path)
  const names = readdirSync(directory).filter((name) => name.startsWith(`${what}-`) && name.endsWith(basename(path)))
  return names.map((name) => join(directory, name))
}

function isOfOurProcess(note: string): boolean {
  return processOf(ownerOf(note)) === processOf(owner)
}

/** Without the thread. */
function processOf(one: string): string {
  return one.slice(0, one.lastIndexOf('/'))
}

/** What our own thread is at has to wait for us. */
function isWrittenTo(path: string): boolean {
  return notesOf('busy', path).some((note) => ownerOf(note) !== owner && stateOf(note) !== IDLE && !isGone(ownerOf(note)))
}

function stateOf(note: string): string {
  try {
    return Date.now() - statSync(note).mtimeMs < LONGEST_NOTE ? readFileSync(note, 'latin1') : IDLE
  } catch {
    return IDLE // closed meanwhile
  }
}

function isOpened(path: string): boolean {
  try {
    const names = statSync(path, { throwIfNoEntry: false })?.nlink ?? 0
    // Another name may as well be a backup's.
    return names > NAMES && notesOf('open', path).length > 0
  } catch {
    return false // the directory is gone
  }
}

async function untilOpened(path: string): Promise<void> {
  while (isOpened(path)) {
    dropOldOpenings(path)
    // Keeps the process alive: what waits here is a write.
    await sleep(1)
  }
}

function dropOldOpenings(path: string): void {
  try {
    for (const note of notesOf('open', path)) if (isOver(note)) rmSync(note, { force: true })
  } catch {
    // The directory is gone, and the notes with it.
  }
}

function isOver(opening: string): boolean {
  return Date.now() - Number(basename(opening).split('-')[1]) > LONGEST_OPENING || isGone(ownerOf(opening))
}

/** Where LMDB says how long a page is, and most bytes of what it writes last in a commit, one of two in turn. */
const PAGE_SIZE_AT = 48
const META = 256

function commitsOf(fd: number): Buffer {
  const metas = Buffer.alloc(2 * META)
  readSync(fd, metas, 0, META, 0)
  readSync(fd, metas, META, META, metas.readUInt32LE(PAGE_SIZE_AT))
  return metas
}
