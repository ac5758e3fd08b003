import { E_INVALID_OPTION } from '../base/errors.js'
import type { GetSetFactory, GetSetFactoryContext } from '../base/options.js'
import { graceOf, lifetime, span } from '../base/settings.js'

/** What will be done with the factory's result. The context edits it up to the moment it is stored. */
export interface Draft {
  ttl: number
  grace: number
  graceBackoff: number
  tags: string[]
  skipL2Write: boolean
  skipBusNotify: boolean
}

export type Outcome = { kind: 'value'; value: unknown } | { kind: 'nothing' } | { kind: 'failed'; cause: unknown }

/** Runs the user's factory once. Never throws. `graced` opens the stale value, if there is one. */
export async function runFactory(
  factory: GetSetFactory<unknown>,
  draft: Draft,
  graced: () => { value: unknown } | undefined
): Promise<Outcome> {
  try {
    const value = await factory(contextOf(draft, graced))
    return value === SKIPPED ? { kind: 'nothing' } : { kind: 'value', value }
  } catch (cause) {
    return { kind: 'failed', cause }
  }
}

/** Tags as a caller may give them: an array of strings. */
export function checkTags(tags: unknown): readonly string[] {
  if (Array.isArray(tags) && tags.every((tag) => typeof tag === 'string')) return tags
  throw new E_INVALID_OPTION('tags', tags, 'an array of strings')
}

/** What `ctx.skip()` returns, so that a factory can hand it on. */
const SKIPPED = Symbol('skipped')

function contextOf(draft: Draft, graced: () => { value: unknown } | undefined): GetSetFactoryContext {
  const setOptions: GetSetFactoryContext['setOptions'] = (options) => {
    if (options.ttl !== undefined) draft.ttl = lifetime(options.ttl, 'ttl')
    if (options.grace !== undefined) draft.grace = graceOf(options.grace)
    if (options.graceBackoff !== undefined) draft.graceBackoff = span(options.graceBackoff, 'graceBackoff', 0)
    if (options.skipL2Write !== undefined) draft.skipL2Write = options.skipL2Write
    if (options.skipBusNotify !== undefined) draft.skipBusNotify = options.skipBusNotify
    if (options.tags !== undefined) draft.tags.push(...checkTags(options.tags))
  }
  return {
    setOptions,
    setTtl: (ttl) => setOptions({ ttl }),
    setTags: (tags) => setOptions({ tags }),
    skip: () => SKIPPED as unknown as undefined,
    fail: (message = 'Factory failed') => {
      throw new Error(message)
    },
    get gracedEntry() {
      return graced()
    },
  }
}
