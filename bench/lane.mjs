// One contender's own process; `paired.mjs` starts it and says when to run.
const [module, name, setup] = process.argv.slice(2)
const { contenders } = await import(module)
const run = await contenders[name](JSON.parse(setup))

process.on('disconnect', () => process.exit())
process.on('message', async (order) => {
  globalThis.gc()
  touchNewSpace()
  process.send({ sample: await run(order) })
})
process.send({})

/** A forced collection gives the pages of the new space back: taking them anew is not the contender's work. */
function touchNewSpace() {
  const ring = new Array(1024)
  for (let i = 0; i < 1_000_000; i++) ring[i % 1024] = [i, i, i, i]
}
