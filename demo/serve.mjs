// Runs app.mjs: alone, or in PROCESSES workers that share one port, as PM2 would. Tells its
// parent the port, and how many connections it has accepted.
import cluster from 'node:cluster'

const wanted = Number(process.env.PROCESSES)

if (wanted === 1) {
  process.on('disconnect', () => process.exit())
  await serve()
} else if (cluster.isPrimary) {
  process.on('disconnect', () => {
    for (const worker of Object.values(cluster.workers)) worker.process.kill('SIGKILL')
    process.exit()
  })
  runWorkers()
} else {
  await serve()
}

async function serve() {
  const { server } = await import('./app.mjs')
  server.headersTimeout = server.requestTimeout = server.keepAliveTimeout = 0 // clients connect long before they ask
  let accepted = 0
  let told = 0
  server.on('connection', () => accepted++)
  setInterval(() => told < accepted && process.send({ accepted: (told = accepted) }), 50).unref()
  server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }))
}

function runWorkers() {
  cluster.schedulingPolicy = cluster.SCHED_RR // each worker gets its share, on Windows too
  const accepted = new Map()
  let listening = 0
  cluster.on('message', (worker, { port, accepted: count }) => {
    if (port !== undefined && ++listening === wanted) process.send({ port })
    if (count === undefined) return
    accepted.set(worker.id, count)
    process.send({ accepted: [...accepted.values()].reduce((sum, n) => sum + n) })
  })
  cluster.on('exit', () => {
    if (listening < wanted) process.send({ trouble: 'the application ended at its start' })
  })
  for (let n = 0; n < wanted; n++) cluster.fork()
}
