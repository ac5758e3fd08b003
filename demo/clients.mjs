// One process with CLIENTS HTTP clients. Each of them first opens its connection, with a
// request that no cache hears of; at the word "fire" all ask for the post at once.
import { Agent, request } from 'node:http'

const { PORT, CLIENTS, POST } = process.env
const TOGETHER = 32 // connections being opened at a time: a short accept queue must not drop any
const PATIENCE = 60_000

const clients = Array.from({ length: Number(CLIENTS) }, () => new Agent({ keepAlive: true }))
let told = 0

process.on('disconnect', () => process.exit())
process.once('message', () => void fire())

try {
  await openAll()
  process.send({ ready: true })
} catch (error) {
  process.send({ trouble: explain(error) })
}

async function openAll() {
  const queue = clients.values()
  let opened = 0
  const next = async () => {
    for (const agent of queue) {
      await ask(agent, '/')
      tell(++opened)
    }
  }
  await Promise.all(Array.from({ length: TOGETHER }, next))
}

async function fire() {
  const requests = clients.map((agent) => prepare(agent, `/posts/${POST}`))
  await new Promise((resolve) => setImmediate(resolve)) // each has its connection now
  const firedAt = performance.now()
  const times = []
  let cut = 0 // its process died
  let failed = 0
  await Promise.all(
    requests.map(async ({ send, answer }) => {
      send()
      try {
        const { status, body } = await answer
        if (status !== 200 || JSON.parse(body).id !== Number(POST)) throw new Error(`answered ${status}`)
        times.push(performance.now() - firedAt)
      } catch (error) {
        if (error.code === 'ECONNRESET') cut++
        else failed++
      }
      tell(times.length + cut + failed)
    }),
  )
  process.send({ times, cut, failed })
}

function ask(agent, path) {
  const { send, answer } = prepare(agent, path)
  send()
  return answer
}

function prepare(agent, path) {
  const outgoing = request({ host: '127.0.0.1', port: PORT, path, agent })
  const answer = new Promise((resolve, reject) => {
    outgoing.setTimeout(PATIENCE, () => outgoing.destroy(new Error('no answer')))
    outgoing.on('error', reject)
    outgoing.on('response', (response) => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', (text) => (body += text))
      response.on('error', reject)
      response.on('end', () => resolve({ status: response.statusCode, body }))
    })
  })
  answer.catch(() => {}) // it is awaited later
  return { send: () => outgoing.end(), answer }
}

function tell(count) {
  const now = performance.now()
  if (now - told < 200) return
  told = now
  process.send({ count })
}

function explain(error) {
  if (error.code === 'EMFILE') return `a client process may not open ${CLIENTS} connections (ulimit -n)`
  return `a client could not connect: ${error.message}`
}
