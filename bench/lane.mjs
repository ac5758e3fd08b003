// One contender's own process; `paired.mjs` starts it and says when to run.
const [module, name, setup] = process.argv.slice(2)
const { contenders } = await import(module)
const run = await contenders[name](JSON.parse(setup))

process.on('disconnect', () => process.exit())
process.on('message', async (order) => {
  globalThis.gc()
  process.send({ sample: await run(order) })
})
process.send({})
