// Runs app.mjs: alone, or in PROCESSES workers that share one port, as PM2 would.
import cluster from 'node:cluster'

const wanted = Number(process.env.PROCESSES)

if (cluster.isPrimary && wanted > 1) {
  let listening = 0
  cluster.schedulingPolicy = cluster.SCHED_RR // each worker gets its equal share, on Windows too
  cluster.on('listening', (_worker, { port }) => {
    if (++listening === wanted) process.send({ port })
  })
  cluster.on('exit', () => {
    if (listening < wanted) process.send({ trouble: 'the application ended at its start' })
  })
  process.on('disconnect', () => {
    for (const worker of Object.values(cluster.workers)) worker.process.kill('SIGKILL')
    process.exit()
  })
  for (let n = 0; n < wanted; n++) cluster.fork()
} else {
  const { server } = await import('./app.mjs')
  server.listen(0, '127.0.0.1')
  if (cluster.isPrimary) {
    server.once('listening', () => process.send({ port: server.address().port }))
    process.on('disconnect', () => process.exit())
  }
}
