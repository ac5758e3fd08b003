export { leaseCases } from './leases.js'
export type { LeaseAssert, LeaseCase, LeaseSuiteOptions } from './leases.js'
