import type { Logger } from '../base/contract.js'

/** The logger with its bindings, if there is one. One without `child` is used as it is. */
export function childOf(logger: Logger | undefined, bindings: Record<string, unknown>): Logger | undefined {
  return logger?.child?.(bindings) ?? logger
}
