// What the command line may say. It knows no package: arguments are judged before anything is installed.
import { existsSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { connectionsPerProcess } from './limits.mjs'
import { describe, MODES } from './modes.mjs'
import { number } from './words.mjs'

export const HELP = `The founding scenario, for real: thousands of HTTP clients ask for one missing post
at the same moment. How often does the database work?

Usage: npm start -- [options]      (or: node scripts/start.mjs [options])

  --clients N      concurrent HTTP clients (10000)
  --instances N    processes of the modes "processes" and "fleet" (10)
  --query-ms N     how long the database takes to find a post, in milliseconds (50)
  --mode MODE      ${MODES.join(' | ')}
                   (all; repeat it or separate by commas)
  --redis URL      coordinate the fleet over this Redis
                   (else over the host tier or a private redis-server)
  --kill-leader    fleet: SIGKILL the process that computes, in the middle of its query
  --svg FILE       write the result as a picture
  --json           print one JSON object on standard output, progress on standard error
                   (with npm: npm start --silent -- --json)
  --help           this text

  unprotected      1 process, no cache
  process          1 process with BentoCache
  processes        N processes with BentoCache in each, as PM2 runs them, not coordinated
  fleet            the same processes, coordinated: one query for all of them

Exit code: 0, 1 when a promise was broken or something is missing, 2 for wrong arguments.
`

/** Arguments that cannot be meant; the message says which, what it was, and what is allowed. */
export class WrongArguments extends Error {}

/** @throws WrongArguments */
export function readOptions(args) {
  const raw = parse(args)
  if (raw.help) return { help: true }
  const options = {
    instances: whole('instances', raw.instances ?? '10', 1, 200),
    queryMs: whole('query-ms', raw['query-ms'] ?? '50', 0, 60_000),
    modes: modes(raw.mode ?? MODES),
    redis: redis(raw.redis),
    killLeader: raw['kill-leader'] ?? false,
    svg: picture(raw.svg),
    json: raw.json ?? false,
  }
  if (options.killLeader && !options.modes.includes('fleet')) {
    throw new WrongArguments('--kill-leader is about the mode fleet, which --mode leaves out')
  }
  if (options.killLeader && options.instances < 2) {
    throw new WrongArguments('--kill-leader needs --instances 2 or more: somebody has to take over')
  }
  return { ...options, ...clients(raw.clients, options) }
}

function parse(args) {
  const text = { type: 'string' }
  const flag = { type: 'boolean' }
  try {
    return parseArgs({
      args,
      options: {
        clients: text, instances: text, 'query-ms': text, redis: text, svg: text,
        mode: { type: 'string', multiple: true },
        'kill-leader': flag, json: flag, help: { type: 'boolean', short: 'h' },
      },
    }).values
  } catch (error) {
    throw new WrongArguments(error.message.split(/\. |\n/)[0])
  }
}

function whole(name, value, min, max) {
  const n = /^\d+$/.test(value) ? Number(value) : NaN
  if (n >= min && n <= max) return n
  throw new WrongArguments(`--${name} must be a whole number from ${min} to ${max}, not "${value}"`)
}

/** In the order of the table, whatever order they came in. */
function modes(values) {
  const wanted = values.flatMap((value) => value.split(','))
  for (const mode of wanted) {
    if (!MODES.includes(mode)) throw new WrongArguments(`--mode must be one of ${MODES.join(', ')}, not "${mode}"`)
  }
  return MODES.filter((mode) => wanted.includes(mode))
}

function redis(url) {
  if (url === undefined) return undefined
  if (URL.canParse(url) && ['redis:', 'rediss:'].includes(new URL(url).protocol)) return url
  throw new WrongArguments(`--redis must be a URL such as redis://127.0.0.1:6379, not "${url}"`)
}

function picture(file) {
  if (file === undefined) return undefined
  if (file !== '' && existsSync(dirname(resolve(file)))) return resolve(file)
  throw new WrongArguments(`--svg must name a file in a directory that exists, not "${file}"`)
}

/** 20,000 connections to one port leave the system enough ports of its own. */
function clients(value, options) {
  const wanted = whole('clients', value ?? '10000', 1, 20_000)
  const { largest, note } = mostClients(options)
  if (wanted <= largest) return { clients: wanted }
  if (value === undefined) return { clients: largest, note }
  throw new WrongArguments(`--clients ${value} is too many here: ${note}; at most ${largest} clients fit`)
}

/** A server process must hold the connections of all its clients; several do not share equally. */
function mostClients(options) {
  const perProcess = connectionsPerProcess()
  const fewest = Math.min(...options.modes.map((mode) => describe(mode, options).processes))
  return {
    largest: fewest === 1 ? perProcess : Math.floor(perProcess * fewest * 0.5),
    note: `a process may hold only ${number(perProcess)} connections open (see ulimit -Hn)`,
  }
}
