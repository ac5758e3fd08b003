export { cacheOperation } from './tracing.js'
