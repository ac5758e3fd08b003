import { availableParallelism, cpus, loadavg } from 'node:os'

/** What a reader needs to judge the figures below. */
export function heading(title) {
  const cpu = cpus()[0]?.model.trim() ?? 'unknown processor'
  console.log(`\n## ${title}`)
  console.log(
    `${new Date().toISOString().slice(0, 10)} · ${availableParallelism()} × ${cpu} · Node ${process.versions.node} · load ${load()}\n`
  )
}

export function load() {
  return loadavg()
    .map((n) => n.toFixed(2))
    .join(' ')
}

/** Rows of cells, columns aligned; the first row names the columns. */
export function table(rows) {
  const text = rows.map((row) => row.map(String))
  const widths = text[0].map((_, column) => Math.max(...text.map((row) => row[column].length)))
  const line = (row) =>
    `| ${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join(' | ')} |`
  console.log(line(text[0]))
  console.log(`|${widths.map((width, i) => (i === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`)
  for (const row of text.slice(1)) console.log(line(row))
}

/** `median (low–high)` of a summary. */
export function spread({ median, low, high }, digits = 0) {
  return `${fixed(median, digits)} (${fixed(low, digits)}–${fixed(high, digits)})`
}

export function fixed(number, digits = 0) {
  return number.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

/**
 * Prints one bar and whether it is met. `passes`: not failed by a measurement that a noisy machine
 * may have spoiled; without it only what meets the bar passes.
 * @returns whether it passes
 */
export function bar(name, value, limit, isMet, unit = '', passes = isMet) {
  const verdict = isMet ? 'met   ' : passes ? 'SLACK ' : 'MISSED'
  console.log(`${verdict}  ${name}: ${value}${unit} (bar: ${limit}${unit})`)
  return passes
}

export function isMain(meta) {
  return process.argv[1] === meta.filename
}
