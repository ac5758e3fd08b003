/**
 * Every error the library throws. Codes and messages of 1.6.1 stay; match on `code` or
 * `instanceof`, never on `name`.
 */
class Exception extends Error {
  static readonly code: string = 'E_EXCEPTION'
  static readonly message: string = ''
  override readonly name: string
  readonly status = 500
  readonly code: string

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.name = code
  }

  override toString(): string {
    return `${this.name} [${this.code}]: ${this.message}`
  }

  get [Symbol.toStringTag](): string {
    return 'Error'
  }
}

class InvalidInput extends TypeError {
  readonly status = 500
  readonly code: string
  override readonly name: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
    this.name = code
  }

  override toString(): string {
    return `${this.name} [${this.code}]: ${this.message}`
  }
}

/** The factory threw, rejected or called `ctx.fail()`. The original is the `cause`. */
export class E_FACTORY_ERROR extends Exception {
  static override readonly code = 'E_FACTORY_ERROR'
  static override readonly message = 'Factory has thrown an error'
  readonly key: string
  /** Nobody was waiting for this run when it failed: a caller had been answered with a stale value. */
  readonly isBackgroundFactory: boolean
  /** The factory ran in another process; `cause` is rebuilt from its name, message and code. */
  readonly isShared: boolean

  constructor(key: string, cause: unknown, isBackgroundFactory = false, isShared = false) {
    super('E_FACTORY_ERROR', E_FACTORY_ERROR.message, { cause })
    this.key = key
    this.isBackgroundFactory = isBackgroundFactory
    this.isShared = isShared
  }
}

/** Kept for its code: a soft timeout answers with the stale value, so callers never see it. */
export class E_FACTORY_SOFT_TIMEOUT extends Exception {
  static override readonly code = 'E_FACTORY_SOFT_TIMEOUT'
  static override readonly message = 'Factory has timed out after waiting for soft timeout'
  readonly key: string

  constructor(key: string) {
    super('E_FACTORY_SOFT_TIMEOUT', E_FACTORY_SOFT_TIMEOUT.message)
    this.key = key
  }
}

/** `hardTimeout` passed and there was no stale value to serve. The flight goes on. */
export class E_FACTORY_HARD_TIMEOUT extends Exception {
  static override readonly code = 'E_FACTORY_HARD_TIMEOUT'
  static override readonly message = 'Factory has timed out after waiting for hard timeout'
  readonly key: string

  constructor(key: string) {
    super('E_FACTORY_HARD_TIMEOUT', E_FACTORY_HARD_TIMEOUT.message)
    this.key = key
  }
}

/** `undefined` cannot be cached; use `null`, or `ctx.skip()` in a factory. */
export class E_UNDEFINED_VALUE extends Exception {
  static override readonly code = 'E_UNDEFINED_VALUE'
  static override readonly message = 'Cannot set undefined value in the cache'

  constructor(key: string) {
    super('E_UNDEFINED_VALUE', `${E_UNDEFINED_VALUE.message}, key: ${key}`)
  }
}

/** The L2 engine failed, did not answer within `l2Timeout`, or is known to be down. */
export class E_L2_CACHE_ERROR extends Exception {
  static override readonly code = 'E_L2_CACHE_ERROR'
  static override readonly message = 'An error occurred while interacting with the L2 cache'

  constructor(cause: unknown) {
    super('E_L2_CACHE_ERROR', E_L2_CACHE_ERROR.message, { cause })
  }
}

/** `lockTimeout` passed while another call was computing, and there was no stale value to serve. */
export class E_LOCK_TIMEOUT extends Exception {
  static override readonly code = 'E_LOCK_TIMEOUT'
  static override readonly message = 'timeout while waiting for mutex to become available'
  readonly key: string

  constructor(key: string) {
    super('E_LOCK_TIMEOUT', E_LOCK_TIMEOUT.message)
    this.key = key
  }
}

/** A factory waits, directly or through other keys, for the key it is computing. */
export class E_RECURSIVE_CALL extends Exception {
  static override readonly code = 'E_RECURSIVE_CALL'
  static override readonly message = 'The factory of this key waits for itself'
  readonly key: string

  constructor(key: string) {
    super('E_RECURSIVE_CALL', `${E_RECURSIVE_CALL.message}, key: ${key}`)
    this.key = key
  }
}

/** An option that cannot mean anything. A `TypeError`. */
export class E_INVALID_OPTION extends InvalidInput {
  static readonly code = 'E_INVALID_OPTION'
  readonly option: string

  constructor(option: string, received: unknown, allowed: string) {
    super('E_INVALID_OPTION', `Invalid option "${option}": received ${show(received)}, allowed is ${allowed}`)
    this.option = option
  }
}

/** A key that is neither a string nor a number. A `TypeError`. */
export class E_INVALID_KEY extends InvalidInput {
  static readonly code = 'E_INVALID_KEY'

  constructor(received: unknown, allowed = 'a string (numbers are converted)') {
    super('E_INVALID_KEY', `Invalid key: received ${show(received)}, allowed is ${allowed}`)
  }
}

/** Options of a driver that contradict each other (1.6.1's name and code). */
export class InvalidArgumentsException extends Exception {
  static override readonly code = 'E_INVALID_ARGUMENTS_EXCEPTION'

  constructor(message: string) {
    super('E_INVALID_ARGUMENTS_EXCEPTION', message)
  }
}

export const errors = {
  E_FACTORY_ERROR,
  E_FACTORY_SOFT_TIMEOUT,
  E_FACTORY_HARD_TIMEOUT,
  E_UNDEFINED_VALUE,
  E_L2_CACHE_ERROR,
  E_LOCK_TIMEOUT,
  E_RECURSIVE_CALL,
  E_INVALID_OPTION,
  E_INVALID_KEY,
}

/** A value as an error message may show it: short, and never throwing. */
function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? value.slice(0, 60) + '…' : value)
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'bigint') return `${value}n`
  if (Array.isArray(value)) return 'an array'
  if (typeof value === 'object' && value !== null) return 'an object'
  return String(value)
}
