import { createHash } from 'node:crypto'
import { refusalOf } from './client.js'
import type { Command, RedisClient } from './client.js'

/**
 * The steps of the protocol, one script each, on the keys of one slot. Redis 6 or later. Publishing
 * is pcalled throughout: a right that is missing must not undo what was stored.
 */
export class Script {
  readonly #lua: string
  readonly #sha: string

  constructor(lua: string) {
    this.#lua = lua
    this.#sha = createHash('sha1').update(lua).digest('hex')
  }

  async run(client: RedisClient, keys: readonly string[], args: readonly (string | number)[]): Promise<any> {
    try {
      return await client.call(this.command(keys, args))
    } catch (error) {
      if (refusalOf(error) !== 'NOSCRIPT') throw error
      return client.call(this.#whole(keys, args))
    }
  }

  /** Behind other commands of the same slot, in one write. Resolves the script's reply. */
  async runAfter(
    client: RedisClient,
    commands: readonly Command[],
    keys: readonly string[],
    args: readonly (string | number)[]
  ): Promise<any> {
    const replies = await client.pipeline([...commands, this.command(keys, args)])
    const reply = replies.pop()
    for (const earlier of replies) if (earlier instanceof Error) throw earlier
    if (!(reply instanceof Error)) return reply
    if (refusalOf(reply) !== 'NOSCRIPT') throw reply
    return client.call(this.#whole(keys, args))
  }

  command(keys: readonly string[], args: readonly (string | number)[]): Command {
    return ['evalsha', this.#sha, keys.length, ...keys, ...args]
  }

  #whole(keys: readonly string[], args: readonly (string | number)[]): Command {
    return ['eval', this.#lua, keys.length, ...keys, ...args]
  }
}

// The tail is what `base/entry.ts` writes last: 60 bytes, so that no script reads a body.
const TAIL = `
local function tail_of(k)
  local t = redis.call('GETRANGE', k, -60, -1)
  local ours = #t == 60 and t:sub(26, 26) == ',' and t:find('^"createdAt":%d+,"logicalExpiration":%d+}$')
  return t, ours
end
local function fingerprint(k)
  local t, ours = tail_of(k)
  if t == '' or ours then return t end
  return redis.sha1hex(redis.call('GET', k))
end`

const NOW = `
local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end`

const LEASE = `
local function lease(k)
  return (redis.call('GET', k) or ''):match('^L|([^|]*)|([^|]*)|(%d+)|(%d)|(%d)$')
end
local function record(term, attempt, heldUntil, fails, wanted)
  return table.concat({ 'L', term, attempt, heldUntil, fails, wanted }, '|')
end`

/**
 * Asks for the turn. Granted only to who has seen what is stored; answered the same when it is
 * asked again after a lost reply. A term outlives its holder: whoever comes next inherits it.
 */
export const ACQUIRE = new Script(`${TAIL}${NOW}${LEASE}
local value, slot = KEYS[1], KEYS[2]
local attempt, ttl, seen, force = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4] == '1'
local at = now()
local term, holder, heldUntil, fails, wanted = lease(slot)
local mine = term and holder == attempt
if not force then
  seen = fingerprint(value)
  if seen ~= ARGV[3] then
    if mine then redis.call('DEL', slot) end -- granted, the reply lost, overwritten since: no orphan
    return { 'changed' }
  end
end
if not mine then
  if term and tonumber(heldUntil) > at and not force then
    -- pcall: memory may be full, and then the waiting look again instead of being told.
    if wanted == '0' then redis.pcall('SETRANGE', slot, redis.call('STRLEN', slot) - 1, '1') end
    return { 'held', term, tonumber(heldUntil) - at, at }
  end
  local ended, outcome, until_, body = (redis.call('GET', slot) or ''):match('^E|([^|]*)|(%a)|(%d+)|(.*)$')
  if ended and ended == ARGV[7] then return { 'ended', outcome, body } end
  if outcome == 'F' and tonumber(until_) > at and not force and ARGV[5] ~= '1' then
    return { 'failed', tonumber(until_) - at, body }
  end
  if not term or force then
    local t = redis.call('TIME') -- to the microsecond: the name of a term is never used again
    term, fails, wanted = attempt .. '@' .. t[1] .. string.format('%06d', t[2]), 0, 0
  end
end
redis.call('SET', slot, record(term, attempt, at + ttl, fails, wanted), 'PX', 4 * ttl)
if force then seen = fingerprint(value) end
return { 'granted', term, math.max(at, tonumber(ARGV[6])), tonumber(fails), seen }`)

/**
 * Stores, if the term still lives and the value is as it was seen. Harmless when it runs twice:
 * the second time it finds its own text.
 */
export const FULFILL = new Script(`${TAIL}${LEASE}
local value, slot, staged = KEYS[1], KEYS[2], KEYS[3]
local term, text, px, seen, head, channel = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local current = fingerprint(value)
local alive, _, _, _, wanted = lease(slot)
alive = alive == term
if not alive or (current ~= '' and current ~= seen) then
  if staged then
    text = redis.call('GET', staged)
    redis.call('UNLINK', staged)
    if not text and not alive then return 'restage' end
  end
  if text and redis.call('GET', value) == text then return 'stored' end
  if not alive then return 'refused' end
  redis.call('DEL', slot) -- somebody wrote without our scripts: our value is older than theirs
  if channel ~= '' then redis.pcall('PUBLISH', channel, 'A' .. head) end
  return 'foreign'
end
if staged then
  if redis.call('EXISTS', staged) == 0 then return 'restage' end
  redis.call('RENAME', staged, value)
  if px == '' then redis.call('PERSIST', value) else redis.call('PEXPIRE', value, px) end
elseif px == '' then
  redis.call('SET', value, text)
else
  redis.call('SET', value, text, 'PX', px)
end
redis.call('DEL', slot)
if channel ~= '' then redis.pcall('PUBLISH', channel, 'S' .. head .. (wanted == '1' and text or '')) end
return 'stored'`)

/**
 * Ends an attempt that stores nothing. V and N are told even by who is not the holder any more:
 * somebody may have been held in that term. A failed first attempt leaves a second chance.
 */
export const SETTLE = new Script(`${NOW}${LEASE}
local slot = KEYS[1]
local outcome, term, attempt, channel, head, body = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local followers, backoff, remember, inline = ARGV[7] == '1', tonumber(ARGV[8]), tonumber(ARGV[9]), ARGV[10] == '1'
local alive, holder, _, fails, wanted = lease(slot)
local function tell(kind)
  if channel == '' then return end
  if kind == 'A' or not inline then redis.pcall('PUBLISH', channel, 'A' .. head)
  else redis.pcall('PUBLISH', channel, kind .. head .. body) end
end
local function keep(text, px)
  -- Memory full: the record goes, which costs a query at most; staying, it would hold others up.
  local kept = redis.pcall('SET', slot, text, 'PX', px)
  if kept.err then redis.call('DEL', slot) end
end
if alive ~= term or holder ~= attempt then
  if outcome == 'V' or outcome == 'N' then tell(outcome) elseif alive ~= term then tell('A') end
  return 'lost'
end
if outcome == 'F' and fails == '0' and backoff == 0 and (wanted == '1' or followers) then outcome, fails = 'A', 1 end
if outcome == 'A' then
  if followers then wanted = 1 end
  -- Nobody's: a late RENEW or ACQUIRE of this attempt must not take the lease back.
  keep(record(term, '', 0, fails, wanted), math.max(1, redis.call('PTTL', slot)))
  tell('A')
  return 'again'
end
if outcome ~= 'F' then backoff = 0 end
local px = math.max(backoff, wanted == '1' and remember or 0)
if px == 0 then redis.call('DEL', slot)
else keep(table.concat({ 'E', term, outcome, backoff > 0 and now() + backoff or 0, body }, '|'), px) end
tell(outcome)
return 'ended'`)

/** Keeps leases alive; 1 for each whose term lives. Only the holder that holds on keeps others waiting. */
export const RENEW = new Script(`${NOW}${LEASE}
local at, answer = now(), {}
for i, slot in ipairs(KEYS) do
  local a = 4 * i - 3
  local term, attempt, ttl, hold = ARGV[a], ARGV[a + 1], tonumber(ARGV[a + 2]), ARGV[a + 3] == '1'
  local alive, holder, _, fails, wanted = lease(slot)
  answer[i] = alive == term and 1 or 0
  if alive == term then
    if holder == attempt and hold then
      redis.call('SET', slot, record(term, attempt, at + ttl, fails, wanted), 'PX', 4 * ttl)
    else
      redis.call('PEXPIRE', slot, 4 * ttl)
    end
  end
end
return answer`)

/**
 * Makes a value stale where it lies, its ttl kept, and ends its term. A text that is not ours is
 * answered 'foreign' and comes again rewritten, with the fingerprint it was rewritten from.
 */
export const EXPIRE = new Script(`${TAIL}${NOW}
local value, slot = KEYS[1], KEYS[2]
local staleAt, channel, frame, seen, text = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if slot then redis.call('UNLINK', slot) end
local function rewrite(...)
  -- Memory full: better gone than fresh.
  local done = redis.pcall(...)
  if type(done) == 'table' and done.err then redis.call('UNLINK', value) end
end
local tail, ours = tail_of(value)
if ours then
  if staleAt == '' then staleAt = now() - 100 end
  rewrite('SETRANGE', value, redis.call('STRLEN', value) - 14, string.format('%013d', staleAt))
elseif tail ~= '' then
  if not seen or fingerprint(value) ~= seen then return 'foreign' end
  if text == '' then redis.call('UNLINK', value) else rewrite('SET', value, text, 'KEEPTTL') end
end
if channel ~= '' then redis.pcall('PUBLISH', channel, frame) end
return tail == '' and 0 or 1`)

/** Writes a tag's mark unless a younger one is there. Resolves the time that counts. */
export const MARK = new Script(`
local old = tonumber((redis.call('GET', KEYS[1]) or ''):match('"createdAt":(%d+)') or 0)
if old >= tonumber(ARGV[2]) then return old end
redis.call('SET', KEYS[1], ARGV[1])
if ARGV[3] ~= '' then redis.pcall('PUBLISH', ARGV[3], ARGV[4]) end
return tonumber(ARGV[2])`)

/** GETDEL, for servers older than 6.2. */
export function TAKE(key: string): Command {
  const lua = "local text = redis.call('GET', KEYS[1]) if text then redis.call('UNLINK', KEYS[1]) end return text"
  return ['eval', lua, 1, key]
}
