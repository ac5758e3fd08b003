import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** A full collection, for tests of what is held on to. */
export const collectGarbage: () => void = (() => {
  setFlagsFromString('--expose-gc')
  return runInNewContext('gc')
})()
