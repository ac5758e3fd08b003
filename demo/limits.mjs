// How many connections a process can hold here.

const OWN = 100 // files, pipes and sockets that a process needs besides

/** Node has raised the soft limit to the hard one when it started. */
export function connectionsPerProcess() {
  process.report.excludeNetwork = true
  const limit = process.report.getReport().userLimits?.open_files.soft
  return typeof limit === 'number' ? Math.max(1, limit - OWN) : Infinity // "unlimited", or Windows
}
