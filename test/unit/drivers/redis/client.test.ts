import { describe, expect, test } from 'vitest'
import { isOutage, refusalOf } from '../../../../src/drivers/redis/client.js'

describe('a rejection', () => {
  test('without an answer of the server is an outage', () => {
    const silent = [
      'Connection is closed.',
      'connect ECONNREFUSED 127.0.0.1:1',
      'read ECONNRESET',
      'Command timed out',
      "Stream isn't writeable and enableOfflineQueue options is false",
      'Reached the max retries per request limit (which is 20).',
      'Command aborted due to connection close',
      'None of startup nodes is available',
      'Failed to refresh slots cache.',
      'The client is closed',
      'Socket closed unexpectedly',
      '',
    ]
    for (const message of silent) expect(isOutage(new Error(message)), message).toBe(true)
  })

  test('that says the server cannot serve anybody now is one too', () => {
    for (const word of ['LOADING', 'CLUSTERDOWN', 'MASTERDOWN', 'READONLY', 'TRYAGAIN']) {
      expect(isOutage(new Error(`${word} something`)), word).toBe(true)
    }
  })

  test('with which the server says no is none', () => {
    for (const word of ['NOPERM', 'WRONGTYPE', 'MISCONF', 'BUSY', 'OOM', 'ERR', 'NOAUTH', 'CROSSSLOT', 'NOREPLICAS']) {
      expect(isOutage(new Error(`${word} something`)), word).toBe(false)
      expect(refusalOf(new Error(`${word} something`))).toBe(word)
    }
    expect(isOutage(new TypeError('x is not a function'))).toBe(false)
  })
})
