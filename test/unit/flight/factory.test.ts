import { describe, expect, test } from 'vitest'
import { checkTags, runFactory } from '../../../src/flight/factory.js'
import type { Draft } from '../../../src/flight/factory.js'

const draftOf = (): Draft => ({ ttl: 1_000, grace: 0, graceBackoff: 10, tags: ['call'], skipL2Write: true, skipBusNotify: true })
const run = (factory: any, draft = draftOf(), graced: () => { value: unknown } | undefined = () => undefined) => runFactory(factory, draft, graced)

describe('a factory', () => {
  test.each([5, null, undefined, '', { a: 1 }])('that gives %j, at once or later, ends with that value', async (value) => {
    expect(await run(() => value)).toEqual({ kind: 'value', value })
    expect(await run(async () => value)).toEqual({ kind: 'value', value })
  })

  test.each([new Error('no'), 'a text', 42, null, undefined, { code: 1 }])('that throws or rejects with %s fails with it as the cause', async (cause) => {
    expect(await run(() => { throw cause })).toEqual({ kind: 'failed', cause })
    expect(await run(() => Promise.reject(cause))).toEqual({ kind: 'failed', cause })
  })

  test.each([undefined, 'text', Promise.resolve(5), {}])('that is no function (%s) fails with a TypeError', async (factory) => {
    expect(await run(factory)).toEqual({ kind: 'failed', cause: expect.any(TypeError) })
  })

  test('that returns skip() ends with nothing; skip() alone does nothing', async () => {
    expect(await run((ctx: any) => ctx.skip())).toEqual({ kind: 'nothing' })
    expect(await run((ctx: any) => (ctx.skip(), 'kept'))).toEqual({ kind: 'value', value: 'kept' })
  })

  test('that calls fail() fails on the spot with its message', async () => {
    const outcome: any = await run((ctx: any) => (ctx.fail('too late'), 'never'))
    expect(outcome.cause.message).toBe('too late')
    expect(((await run((ctx: any) => ctx.fail())) as any).cause.message).toBe('Factory failed')
  })

  test('has a context whose members can be destructured', async () => {
    const draft = draftOf()
    await run(({ setTtl, setTags, setOptions, skip }: any) => (setTtl('5s'), setTags(['t']), setOptions({ grace: '1m' }), skip()), draft)
    expect(draft).toMatchObject({ ttl: 5_000, grace: 60_000, tags: ['call', 't'] })
  })

  test('sees the stale value that is known when it asks', async () => {
    expect(await run((ctx: any) => ctx.gracedEntry, draftOf(), () => ({ value: 'old' }))).toEqual({ kind: 'value', value: { value: 'old' } })
  })
})

describe('options that a factory sets', () => {
  const after = async (edit: (ctx: any) => void) => {
    const draft = draftOf()
    await run((ctx: any) => (edit(ctx), 'v'), draft)
    return draft
  }

  test('change what they name and leave the rest as the call has it', async () => {
    expect(await after((ctx) => ctx.setOptions({}))).toEqual(draftOf())
    expect(await after((ctx) => ctx.setOptions({ ttl: undefined, skipL2Write: undefined }))).toEqual(draftOf())
    expect(await after((ctx) => ctx.setOptions({ skipL2Write: false }))).toEqual({ ...draftOf(), skipL2Write: false })
    expect(await after((ctx) => ctx.setOptions({ skipBusNotify: false, graceBackoff: '1s' }))).toEqual({ ...draftOf(), skipBusNotify: false, graceBackoff: 1_000 })
  })

  test.each([
    [null, Infinity],
    [0, 0],
    ['0s', 0],
    ['2m', 120_000],
  ])('take a ttl of %j as %d ms, in both spellings', async (ttl, ms) => {
    expect((await after((ctx) => ctx.setOptions({ ttl }))).ttl).toBe(ms)
    expect((await after((ctx) => ctx.setTtl(ttl))).ttl).toBe(ms)
  })

  test('add their tags to those of the call', async () => {
    expect((await after((ctx) => (ctx.setTags(['a']), ctx.setOptions({ tags: ['b'] })))).tags).toEqual(['call', 'a', 'b'])
  })

  test.each([{ ttl: NaN }, { grace: true }, { tags: 'xy' }, { graceBackoff: 'soon' }])('that cannot mean anything fail the factory: %j', async (options) => {
    expect(await run((ctx: any) => ctx.setOptions(options))).toMatchObject({ kind: 'failed', cause: { code: 'E_INVALID_OPTION' } })
  })
})

test.each(['xy', [1], null, { 0: 'a' }, new Set(['a'])])('[N19] tags are an array of strings; %s is refused by name', (tags) => {
  expect(() => checkTags(tags)).toThrow(expect.objectContaining({ code: 'E_INVALID_OPTION', option: 'tags' }))
  expect(checkTags(['a', ''])).toEqual(['a', ''])
})
