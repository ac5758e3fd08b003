// The four ways to run the application, and what each of them promises.

export const MODES = ['unprotected', 'process', 'processes', 'fleet']

/** `promised` is the number of queries that the mode must make. */
export function describe(mode, { clients, instances, killLeader }) {
  switch (mode) {
    case 'unprotected':
      return { processes: 1, setup: '1 process, no cache', promised: clients }
    case 'process':
      return { processes: 1, setup: '1 process, BentoCache', promised: 1 }
    case 'processes':
      return { processes: instances, setup: `${instances} processes, BentoCache`, promised: instances }
    case 'fleet':
      return { processes: instances, setup: `${instances} processes, ${killLeader ? 'leader killed' : 'coordinated'}`, promised: killLeader ? 2 : 1 }
  }
}

/** What a result broke, in words; `undefined` if it kept its promise. */
export function brokenPromise(result, options) {
  const { promised } = describe(result.mode, options)
  const killed = result.mode === 'fleet' && options.killLeader
  const mayFail = killed ? Math.ceil(options.clients / options.instances) : 0 // those of the dead process
  if (result.queries !== promised) return `${result.mode}: ${result.queries} queries, promised were ${promised}`
  if (result.failed > mayFail) return `${result.mode}: ${result.failed} requests failed, at most ${mayFail} may`
  return undefined
}
