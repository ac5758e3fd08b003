import fc from 'fast-check'
import { BentoCache, bentostore } from '../../src/index.js'
import { memoryDriver } from '../../src/drivers/memory/memory.js'
import { VirtualClock, settle } from './clock.js'
import { Coordinator } from './coordinator.js'
import type { Missing } from './coordinator.js'

/**
 * Schedules that nobody thought of: the whole stack in three processes, over connections that take
 * as long as fast-check says, checked against a database that knows which version is acknowledged.
 * A failure prints the seed, the plan and every step that the coordinator took.
 */

/** Which mechanism is taken out, to show that the plans need it. */
export interface Twin {
  leases?: false
  coordinator?: Missing
}

const PROCESSES = 3
const KEYS = ['a', 'b']
/** The longest that a request, a reply or a frame is under way, ms. */
const SLOWEST = 40
const STALENESS = 2_000

export interface Step {
  /** After the step before, ms. */
  pause: number
  process: number
  key: number
  what: 'getOrSet' | 'get' | 'delete' | 'expire' | 'set' | 'deleteByTag' | 'clear' | 'lose frames'
  /** How long the factory takes before and after it reads the database. */
  before: number
  after: number
  fails: boolean
}

export interface Plan {
  delays: number[]
  steps: Step[]
  /** The first call comes before the feeds are connected. */
  isCold: boolean
}

export function plans(o: { writes: Step['what'][]; fails?: boolean }): fc.Arbitrary<Plan> {
  const nat = (max: number) => fc.nat({ max })
  const what = fc.oneof(
    { weight: 5, arbitrary: fc.constant('getOrSet' as const) },
    { weight: 1, arbitrary: fc.constant('get' as const) },
    { weight: 3, arbitrary: fc.constantFrom(...o.writes) }
  )
  const step = fc.record({
    pause: fc.oneof(fc.constant(0), nat(60)),
    process: nat(PROCESSES - 1),
    key: nat(KEYS.length - 1),
    what,
    before: nat(30),
    after: nat(80),
    fails: o.fails ? fc.oneof({ weight: 2, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }) : fc.constant(false),
  })
  return fc.record({
    delays: fc.array(nat(SLOWEST), { minLength: 20, maxLength: 60 }),
    steps: fc.array(step, { minLength: 2, maxLength: 14 }),
    isCold: fc.boolean(),
  })
}

/** Plays the plan to its end. What it found wrong, with the schedule; `''` = nothing. */
async function play({ delays, steps, isCold }: Plan, twin: Twin, readsOvertake: boolean): Promise<{ wrong: string[]; trace: string[]; runs: number[] }> {
  const clock = new VirtualClock()
  const startedAt = clock.now()
  const coordinator = new Coordinator(clock, twin.coordinator)
  const trace: string[] = []
  const wrong: string[] = []
  const log = (text: string) => void trace.push(`${String(clock.now() - startedAt).padStart(5)} ${text}`)

  let drawn = 0
  const connect = (name: string) => {
    const connection = coordinator.connect({ readsOvertake, delay: () => delays[drawn++ % delays.length]!, trace: (step) => log(`${name}: ${step}`) })
    const store = bentostore({ leases: twin.leases ?? true, maxL1Staleness: STALENESS })
    store.useL1Layer(memoryDriver()).useL2Layer({ options: {}, factory: () => connection })
    const bento = new BentoCache({ clock, ttl: '1h', default: 'main', stores: { main: store } })
    bento.use()
    return { name, bento, connection, acked: KEYS.map(() => 0) }
  }
  const processes = Array.from({ length: PROCESSES }, (_, i) => connect(`p${i}`))
  if (!isCold) await clock.advance(200)

  const database = KEYS.map(() => 1)
  const acks: { key: number; version: number; at: number }[] = []
  const runs = KEYS.map(() => 0)
  const hasLost = steps.some(({ what }) => what === 'lose frames')
  const delivery = hasLost || isCold ? STALENESS + 3 * SLOWEST : SLOWEST + 5

  const read = async ({ process, key, what, before, after, fails }: Step, id: number) => {
    const { name, bento, acked } = processes[process]!
    const at = clock.now()
    const own = acked[key]!
    const everybodys = Math.max(0, ...acks.filter((ack) => ack.key === key && ack.at < at - delivery).map(({ version }) => version))
    log(`${name}: #${id} ${what} ${KEYS[key]} begins`)
    const factory = async () => {
      runs[key]!++
      log(`${name}: #${id} computes`)
      await clock.sleep(before)
      const version = database[key]!
      await clock.sleep(after)
      if (fails) throw new Error('the database is down')
      return version
    }
    const options = { tags: ['t'] }
    const version = await (what === 'get' ? bento.get(KEYS[key]!) : bento.getOrSet(KEYS[key]!, factory, options)).catch(() => undefined)
    log(`${name}: #${id} ${what} ${KEYS[key]} answers ${version}`)
    if (version === undefined) return
    if (version < own) wrong.push(`I3: #${id} of ${name} read version ${version} of ${KEYS[key]} after it had acknowledged ${own} itself`)
    if (version < everybodys) wrong.push(`I4: #${id} of ${name} read version ${version} of ${KEYS[key]}, ${everybodys} was acknowledged and delivered`)
  }

  const write = async ({ process, key, what }: Step, id: number) => {
    const { name, bento, acked } = processes[process]!
    const concerned = what === 'deleteByTag' || what === 'clear' ? KEYS.map((_, i) => i) : [key]
    for (const i of concerned) database[i]!++
    const versions = concerned.map((i) => database[i]!)
    log(`${name}: #${id} ${what} begins`)
    if (what === 'delete') await bento.delete(KEYS[key]!)
    if (what === 'expire') await bento.expire(KEYS[key]!)
    if (what === 'set') await bento.set(KEYS[key]!, database[key], { tags: ['t'] })
    if (what === 'deleteByTag') await bento.deleteByTag(['t'])
    if (what === 'clear') await bento.clear()
    log(`${name}: #${id} ${what} is acknowledged`)
    concerned.forEach((i, n) => {
      acked[i] = versions[n]!
      acks.push({ key: i, version: versions[n]!, at: clock.now() })
    })
  }

  // Writes come one after another, as the transactions before them do; reads whenever they like.
  let writing: Promise<void> = Promise.resolve()
  const reads: Promise<void>[] = []
  for (const [id, step] of steps.entries()) {
    await clock.advance(step.pause)
    if (step.what === 'lose frames') processes[step.process]!.connection.loseFrames()
    else if (step.what === 'get' || step.what === 'getOrSet') reads.push(read(step, id))
    else writing = writing.then(() => write(step, id))
    await settle()
  }
  let isOver = false
  void Promise.all([writing, ...reads]).then(() => (isOver = true))
  await clock.advance(60_000)
  if (!isOver) wrong.push('I5: somebody has no answer after a minute')

  // Quiet: whatever anybody still finds must be as young as the last acknowledgement.
  const late = connect('late')
  await clock.advance(200)
  for (const { name, bento } of [...processes, late]) {
    for (const [key, name_] of KEYS.entries()) {
      const version = await clock.run(bento.get(name_))
      const acked = Math.max(0, ...acks.filter((ack) => ack.key === key).map((ack) => ack.version))
      if (version !== undefined && version < acked) wrong.push(`I1: ${name} finds version ${version} of ${name_} in the end, ${acked} was acknowledged`)
    }
  }
  for (const { bento } of [...processes, late]) await clock.run(bento.disconnectAll())
  return { wrong, trace, runs }
}

export async function holds(plan: Plan, o: { isOnce?: boolean; readsOvertake?: boolean; without?: Twin } = {}): Promise<void> {
  const { wrong, trace, runs } = await play(plan, o.without ?? {}, o.readsOvertake ?? false)
  if (o.isOnce) {
    for (const [key, times] of runs.entries()) {
      const invalidations = plan.steps.filter((step) => step.what === 'deleteByTag' || step.what === 'clear' || (isWrite(step) && step.key === key)).length
      if (times > 1 + invalidations) wrong.push(`I2: ${KEYS[key]} was computed ${times} times, there were ${invalidations} invalidations`)
    }
  }
  if (wrong.length > 0) throw new Error(`${wrong.join('\n')}\n\n${trace.join('\n')}`)
}

function isWrite({ what }: Step): boolean {
  return what === 'delete' || what === 'expire' || what === 'set'
}
