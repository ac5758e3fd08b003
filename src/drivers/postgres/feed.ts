import { createHash, randomBytes } from 'node:crypto'
import { after } from '../../base/clock.js'
import type { Clock, Feed, FeedEvent, FeedListener, Logger, Watch } from '../../base/contract.js'
import { ignore, within } from '../../base/promises.js'
import { head, parseFrame } from '../frames.js'
import { Watches } from '../watches.js'
import { destroy } from './connection.js'
import type { Connection, PgClient } from './connection.js'

/** A listening connection that is silent for so long is made anew. */
const SILENCE = 5_000
/** A notification to ourselves that is not back by then does not come: there is a pooler in between. */
const ECHO = 2_000
const SLOWEST_RETRY = 2_000
/** A payload has fewer bytes than 8000. */
const MOST_BYTES = 7_999

const GAP: FeedEvent = { kind: 'gap', key: '', term: '', own: false }

/**
 * What happened to the keys of one store, in the order of commits, told by the functions that did
 * it and heard on one connection that listens. Verified again and again: the answer to a question
 * on that connection comes behind every notification that was committed before the question.
 */
export class PostgresFeed implements Feed {
  readonly #origin = randomBytes(8).toString('hex')
  readonly #connection: Connection
  readonly #scope: string
  readonly #clock: Clock
  readonly #log: Logger | undefined
  readonly #watches: Watches
  #listener: FeedListener | undefined
  #channel = ''
  #maxStaleness = 0
  #client: PgClient | undefined
  #isStanding = false
  /** Nothing can be heard: a pooler in between, or no connection to listen on. */
  #isDeaf = false
  #hasWarned = false
  #isClosed = false
  #retries = 0
  #askedAt: number | undefined
  /** Recent differences between the server's clock and ours, and how long each question took. */
  readonly #samples: { offset: number; took: number }[] = []
  readonly #timers = new Set<() => void>()

  /** `scope`: what tells values of one table and prefix from those of any other of the database. */
  constructor(o: { connection: Connection; scope: string; clock: Clock; log: Logger | undefined }) {
    this.#connection = o.connection
    this.#scope = o.scope
    this.#clock = o.clock
    this.#log = o.log
    this.#watches = new Watches({ clock: o.clock, hears: () => this.hears, fastestPoll: 5 })
  }

  open(o: { store: string; maxStalenessMs: number; listener: FeedListener }): void {
    if (this.#channel !== '' || this.#isClosed) return
    this.#listener = o.listener
    this.#maxStaleness = o.maxStalenessMs
    // A digest, because names of channels have 63 bytes. LISTEN is per database already.
    this.#channel = `bc_${createHash('sha256').update(JSON.stringify([o.store, this.#scope])).digest('hex').slice(0, 40)}`
    void this.#connect()
    this.#verifyAgain()
  }

  /** Over a network nothing can be looked up at once. */
  look(): boolean {
    return false
  }

  /** What to notify on; `''` as long as the store has no name. */
  get channel(): string {
    return this.#channel
  }

  /** Whether events arrive by themselves. */
  get hears(): boolean {
    return this.#isStanding && !this.#isDeaf
  }

  get isDeaf(): boolean {
    return this.#isDeaf
  }

  /** Server's clock minus ours. */
  get offset(): number {
    return this.#samples.reduce((best, sample) => (sample.took < best.took ? sample : best), NO_SAMPLE).offset
  }

  /** Epoch ms on the server's clock. */
  serverNow(): number {
    return this.#clock.now() + this.offset
  }

  head(term: string, key: string): string {
    return head(this.#origin, term, key)
  }

  /** For what is done on behalf of others, and has to be heard here as well. */
  headOfNobody(key: string): string {
    return head('', '', key)
  }

  /** Bytes that a payload has left for a body. */
  roomBehind(head: string): number {
    return MOST_BYTES - 1 - Buffer.byteLength(head)
  }

  watch(key: string): Watch {
    return this.#watches.open(key)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#isStanding = false
    for (const stop of this.#timers) stop()
    this.#timers.clear()
    this.#watches.close()
    const client = this.#client
    this.#client = undefined
    if (client !== undefined) await leave(client, this.#clock)
  }

  async #connect(): Promise<void> {
    let client: PgClient | undefined
    try {
      client = await this.#connection.dedicated()
      if (client === undefined) return this.#isDeafNow('there is no connection to listen on (option "listener")')
      if (this.#isClosed) return await leave(client, this.#clock)
      const own = (this.#client = client)
      let isLost = false
      const lost = () => {
        if (isLost) return
        isLost = true
        this.#lost(own)
      }
      client.on('end', lost)
      client.on('error', lost)
      client.on('notification', ({ payload }: { payload?: string }) => this.#heard(own, payload ?? ''))
      await within(this.#clock, client.query(`listen "${this.#channel}"`), SILENCE)
    } catch (error) {
      if (client === undefined) return this.#retry()
      if (client === this.#client && /^[0-9A-Z]{5}$/.test((error as any)?.code ?? '')) this.#isDeafNow('LISTEN is refused', error)
      return destroy(client)
    }
    this.#echo(client)
  }

  /** Through another connection: on this one a pooler would hand the notification back with the answer, once. */
  #echo(client: PgClient): void {
    const asked = this.#connection.query('select pg_notify($1, $2)', [this.#channel, `H${this.head('', '')}`])
    asked.then(
      () => this.#later(ECHO, () => client === this.#client && !this.#isStanding && this.#isDeafNow('notifications do not arrive')),
      // Not even this gets through: once more, as long as the connection stands.
      () => this.#later(this.#pause, () => client === this.#client && !this.#isStanding && this.#echo(client))
    )
  }

  #heard(client: PgClient, frame: string): void {
    if (client !== this.#client) return
    // Nobody else knows the letter: only whoever sent it learns that he can hear.
    if (frame === `H${this.head('', '')}`) return void (this.#isStanding || this.#stands())
    const event = parseFrame(frame, this.#origin)
    if (event !== undefined) this.#tell(event)
  }

  #stands(): void {
    this.#isStanding = true
    this.#isDeaf = false
    this.#retries = 0
    this.#askedAt = undefined
    this.#tell(GAP)
    void this.#verify()
  }

  #lost(client: PgClient): void {
    if (client !== this.#client) return
    this.#client = undefined
    this.#isStanding = false
    this.#askedAt = undefined
    this.#retry()
  }

  #retry(): void {
    if (this.#isClosed) return
    const pause = Math.min(SLOWEST_RETRY, 50 * 2 ** this.#retries++)
    this.#later(pause, () => void this.#connect())
  }

  #isDeafNow(why: string, error?: unknown): void {
    if (this.#isClosed) return
    this.#isDeaf = true
    if (!this.#hasWarned) {
      this.#hasWarned = true
      this.#log?.warn?.(
        { err: error, channel: this.#channel },
        `PostgreSQL: ${why}, as behind PgBouncer in transaction mode: processes ask for news instead of hearing them, and L1 is as coherent as the bus keeps it`
      )
    }
    // L1 without a feed is what 1.6.1 has: nothing will ever verify it, so nothing waits for that.
    this.#listener?.onVerified(Infinity)
  }

  #tell(event: FeedEvent): void {
    this.#listener?.onEvent(event)
    this.#watches.tell(event)
  }

  get #pause(): number {
    return Math.max(10, Math.min(this.#maxStaleness / 4, 2_500))
  }

  #verifyAgain(): void {
    this.#later(this.#pause, () => {
      void this.#verify()
      this.#verifyAgain()
    })
  }

  /** One question: is everything heard that was committed before it, and what time is it there? */
  async #verify(): Promise<void> {
    const client = this.#client
    const sentAt = this.#clock.now()
    if (this.#askedAt !== undefined) {
      // Half-open: the other end is gone and nobody told us.
      if (client !== undefined && sentAt - this.#askedAt > SILENCE) destroy(client)
      return
    }
    if (client !== undefined && !this.#isStanding && !this.#isDeaf) return
    this.#askedAt = sentAt
    const time = 'select floor(extract(epoch from clock_timestamp()) * 1000)::float8 as now'
    try {
      const [answer] = client === undefined ? await this.#connection.query(time, []) : (await client.query(time)).rows
      const took = this.#clock.now() - sentAt
      if (client === this.#client) this.#measured(Number(answer?.['now']) - sentAt - took / 2, took)
      if (client !== undefined && client === this.#client && this.hears) this.#listener?.onVerified(sentAt + this.#maxStaleness)
    } catch {
      // Away: the last offset stays, and nothing is verified.
    }
    if (client === this.#client) this.#askedAt = undefined
  }

  #measured(offset: number, took: number): void {
    this.#samples.push({ offset: Math.round(offset), took })
    if (this.#samples.length > 8) this.#samples.shift()
  }

  #later(ms: number, callback: () => void): void {
    if (this.#isClosed) return
    const stop = after(this.#clock, ms, () => {
      this.#timers.delete(stop)
      callback()
    })
    this.#timers.add(stop)
  }
}

const NO_SAMPLE = { offset: 0, took: Infinity }

async function leave(client: PgClient, clock: Clock): Promise<void> {
  const left = client.end()
  ignore(left)
  await within(clock, left, 1_000).catch(() => {})
  destroy(client)
}
