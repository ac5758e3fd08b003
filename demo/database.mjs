// The slow database: one SQLite file that all processes share. It counts its queries itself,
// so that no cache can be wrong about them.
import { setTimeout as wait } from 'node:timers/promises'
import Database from 'libsql'

const { DATABASE_FILE, QUERY_MS = '50', KILL_LEADER } = process.env

let connection

/** Takes `QUERY_MS`, and leaves a row in `queries`. */
export async function getPostFromDb(id) {
  connection ??= open(DATABASE_FILE)
  const { lastInsertRowid } = connection.count.run(id, process.pid)
  if (KILL_LEADER && Number(lastInsertRowid) === 1) await dieHalfway()
  await wait(Number(QUERY_MS)) // an embedded database answers in microseconds; a real one does not
  const { title, body } = connection.find.get(id)
  return { id, title, body }
}

/** @returns the database, empty of queries, with one post in it */
export function createDatabase(file, post) {
  const database = connect(file)
  database.exec('CREATE TABLE posts (id INTEGER PRIMARY KEY, title TEXT, body TEXT)')
  database.exec('CREATE TABLE queries (n INTEGER PRIMARY KEY, post INTEGER, process INTEGER)')
  database.prepare('INSERT INTO posts VALUES (?, ?, ?)').run(post.id, post.title, post.body)
  return {
    countQueries: () => database.prepare('SELECT count(*) AS n FROM queries').get().n,
    close: () => database.close(),
  }
}

function open(file) {
  const database = connect(file)
  return {
    count: database.prepare('INSERT INTO queries (post, process) VALUES (?, ?)'),
    find: database.prepare('SELECT title, body FROM posts WHERE id = ?'),
  }
}

function connect(file) {
  const database = new Database(file, { timeout: 30_000 }) // wait for the other writers, never SQLITE_BUSY
  database.pragma('journal_mode = WAL')
  database.pragma('synchronous = OFF') // counting must cost little
  return database
}

/** `--kill-leader`: the process that was first to query dies by its own hand, which is never late. */
async function dieHalfway() {
  await wait(Number(QUERY_MS) / 2)
  process.kill(process.pid, 'SIGKILL')
}
