export { registerCacheDriverTestSuite } from './conformance/japa.js'
