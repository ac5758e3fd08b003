// One process with CLIENTS HTTP clients. Each opens its connection first and prepares its
// request; at the word "fire" all of them are sent.
import { once } from 'node:events'
import { request } from 'node:http'
import { connect } from 'node:net'

const { PORT, CLIENTS, POST } = process.env
const TOGETHER = 32 // connections being opened at a time: a short accept queue must not drop any
const WARMING = 4 // each fourth client asks for a page before, as on a server that is in use
const PATIENCE = 120_000

process.on('disconnect', () => process.exit())

try {
  const requests = await openAll(Number(CLIENTS))
  process.once('message', () => void fire(requests))
  process.send({ ready: true })
} catch (error) {
  process.send({ trouble: explain(error) })
}

async function openAll(wanted) {
  const requests = []
  let opened = 0
  const next = async () => {
    while (opened < wanted) {
      const isWarming = opened++ % WARMING === 0
      const socket = connect(Number(PORT), '127.0.0.1')
      await once(socket, 'connect')
      if (isWarming) await send(prepare(socket, '/'))
      requests.push(prepare(socket, `/posts/${POST}`))
    }
  }
  await Promise.all(Array.from({ length: TOGETHER }, next))
  return requests
}

function prepare(socket, path) {
  const outgoing = request({ path, headers: { connection: 'keep-alive' }, createConnection: () => socket })
  const answer = new Promise((resolve, reject) => {
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
  return { outgoing, answer }
}

function send({ outgoing, answer }) {
  outgoing.end()
  return answer
}

async function fire(requests) {
  const giveUp = setTimeout(() => requests.forEach(({ outgoing }) => outgoing.destroy(new Error('late'))), PATIENCE)
  const times = []
  let cut = 0 // its process died
  let failed = 0
  let told = performance.now()
  const firedAt = told
  await Promise.all(
    requests.map(async (request) => {
      try {
        const { status, body } = await send(request)
        const now = performance.now()
        if (status !== 200 || JSON.parse(body).id !== Number(POST)) throw new Error(`answered ${status}`)
        times.push(now - firedAt)
        if (now - told > 200) {
          told = now
          process.send({ count: times.length })
        }
      } catch (error) {
        if (error.code === 'ECONNRESET') cut++
        else failed++
      }
    }),
  )
  clearTimeout(giveUp)
  process.send({ times, cut, failed })
}

function explain(error) {
  if (error.code === 'EMFILE') return `a client process may not open ${CLIENTS} connections (ulimit -n)`
  return `a client could not connect: ${error.message}`
}
