/** What happened in one store of this process since it was built. Plain numbers, only ever growing. */
export class Stats {
  /** Reads answered by a fresh entry. */
  hits = 0
  /** Reads answered by a stale entry. */
  stale = 0
  /** Reads answered by a computation that another call had started, here or in another process. */
  coalesced = 0
  /** Reads that started a computation or found nothing. */
  misses = 0
  /** Reads that rejected. */
  errors = 0
  /** Calls that joined a flight of this process. */
  waiters = 0
  /** Flights that ended with at least one waiter: stampedes that did not happen. */
  flightsWithWaiters = 0
  /** Factory runs, by what caused them. */
  executions = { miss: 0, stale: 0, forced: 0, takeover: 0, degraded: 0 }
  /** Leases inherited from another attempt that stopped or was slow. */
  takeovers = 0
  /** Results that the coordinator refused: invalidated, or somebody had stored before. */
  refusedWrites = 0
  /** Of these, results that nobody needed: the fleet computed twice. Alert if it grows without faults. */
  duplicates = 0
  /** Leases that were gone when they were to be renewed. */
  leasesLost = 0
  /** Results not stored because the key was invalidated meanwhile. */
  outrun = 0
}
