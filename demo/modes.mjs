// The four ways to run the application, and what each of them promises.
import { number, plural } from './words.mjs'

export const MODES = ['unprotected', 'process', 'processes', 'fleet']

/** `promised` is how many queries the mode makes. */
export function describe(mode, { clients, instances, killLeader }) {
  switch (mode) {
    case 'unprotected':
      return { processes: 1, setup: '1 process, no cache', promised: clients }
    case 'process':
      return { processes: 1, setup: '1 process, BentoCache', promised: 1 }
    case 'processes':
      return { processes: instances, setup: `${instances} processes, BentoCache`, promised: instances }
    case 'fleet':
      return killLeader
        ? { processes: instances, setup: `${instances} processes, leader killed`, promised: 2 }
        : { processes: instances, setup: `${instances} processes, coordinated`, promised: 1 }
  }
}

/** What a result broke, in words; `undefined` if it kept its promise. */
export function brokenPromise({ mode, queries, failed, cut }, options) {
  const { promised } = describe(mode, options)
  const excused = mode === 'fleet' && options.killLeader ? cut : 0 // they died with their process
  const kept = mode === 'processes' ? queries <= promised : queries === promised // one may have had no client
  if (!kept) return `${mode}: the database saw ${plural(queries, 'query', 'queries')}, not ${number(promised)}`
  if (failed > excused) return `${mode}: ${plural(failed - excused, 'request', 'requests')} failed`
  return undefined
}
