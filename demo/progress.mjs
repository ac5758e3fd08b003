// What the work is at: one line that moves on a terminal, a line per stage everywhere else.
import { number } from './words.mjs'

const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏']

/** @param stream where to write it: standard error when standard output belongs to `--json` */
export function createProgress(stream) {
  return stream.isTTY && !process.env.CI ? movingLine(stream) : plainLines(stream)
}

function plainLines(stream) {
  return {
    stage: (text) => stream.write(`${text} …\n`),
    count: () => {},
    done: (text) => stream.write(`${text}\n`),
    stop: () => {},
  }
}

function movingLine(stream) {
  let text = ''
  let counted = ''
  let since = 0
  let frame = 0
  let timer

  const draw = () => {
    const seconds = Math.floor((performance.now() - since) / 1000)
    const spinner = FRAMES[frame++ % FRAMES.length]
    const line = `${spinner} ${text}${counted}${seconds >= 2 ? `  ${seconds} s` : ''}`
    stream.write(`\r\x1b[2K${line.slice(0, (stream.columns || 80) - 1)}`)
  }
  const stop = () => {
    clearInterval(timer)
    timer = undefined
    stream.write('\r\x1b[2K')
  }
  return {
    stage(next) {
      text = next
      counted = ''
      since = performance.now()
      timer ??= setInterval(draw, 100).unref()
      draw()
    },
    count(n, total) {
      counted = `  ${bar(n / total)} ${number(n)}`
    },
    done(line) {
      stop()
      stream.write(`✔ ${line}\n`)
    },
    stop,
  }
}

function bar(share) {
  const full = Math.round(share * 20)
  return '━'.repeat(full) + '┄'.repeat(20 - full)
}
