// The result for a terminal: a table, a chart, and whether the promises held.
import { describe } from './modes.mjs'
import { number, plural } from './words.mjs'

const CHART = 50

/** @param coordinator name of what coordinated the fleet, if anything did */
export function terminalText({ results, options, coordinator, broken }) {
  const style = palette(process.stdout.isTTY && !process.env.NO_COLOR)
  const { bold, dim, red, green } = style
  const asks = plural(options.clients, 'client asks', 'clients ask')
  const lines = [
    bold(`${asks} for one missing post at the same moment; a query takes ${number(options.queryMs)} ms.`),
    '',
    ...table(results, options, style),
    '',
    dim('database queries'),
    ...chart(results, style),
    '',
    ...broken.map((text) => red(bold(`BROKEN PROMISE  ${text}`))),
    ...(broken.length === 0 ? [green('Every mode kept its promise.')] : []),
    ...notes(results, options, coordinator).map(dim),
  ]
  return `\n${lines.map((line) => (line === '' ? '' : `  ${line}`)).join('\n')}\n\n`
}

function table(results, options, { bold, dim, paint }) {
  const someFailed = results.some(({ failed }) => failed > 0)
  const ms = (value) => `${number(value)} ms`
  const rows = [
    ['mode', '', 'queries', 'p50', 'p99', 'slowest', 'failed'],
    ...results.map(({ mode, queries, ms: { p50, p99, max }, failed }) => [
      mode, describe(mode, options).setup, number(queries), ms(p50), ms(p99), ms(max), number(failed),
    ]),
  ].map((row) => (someFailed ? row : row.slice(0, -1)))
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)))
  return rows.map((row, n) =>
    row
      .map((cell, column) => {
        const padded = column < 2 ? cell.padEnd(widths[column]) : cell.padStart(widths[column])
        if (n === 0) return dim(padded)
        if (column === 0) return paint(cell, padded)
        return column === 2 ? bold(padded) : padded
      })
      .join('  '),
  )
}

function chart(results, { bold, paint }) {
  const most = Math.max(...results.map(({ queries }) => queries))
  return results.map(({ mode, queries }) => {
    const width = Math.round((queries / most) * CHART)
    return `${mode.padEnd(11)}  ${paint(mode, width === 0 ? '▏' : '█'.repeat(width))} ${bold(number(queries))}`
  })
}

function notes(results, options, coordinator) {
  const texts = []
  const fleet = results.find(({ mode }) => mode === 'fleet')
  if (fleet !== undefined) texts.push(`The fleet was coordinated by ${coordinator}.`)
  if (fleet !== undefined && options.killLeader) {
    texts.push(
      'The process that computed was killed in the middle of its query. That cost',
      `${plural(fleet.queries - 1, 'more query', 'more queries')}, ${plural(fleet.failed, 'failed request', 'failed requests')}, and ${number(fleet.ms.max)} ms for the slowest answer.`,
    )
  }
  texts.push(
    'Times run from the common start to each last byte, so they contain the work of serving',
    'all these requests on this machine. A real database would not take them all at once.',
  )
  return texts
}

function palette(colors) {
  const style = (code) => (text) => (colors ? `\x1b[${code}m${text}\x1b[0m` : text)
  const hues = { unprotected: style(31), process: style(32), processes: style(33), fleet: style(36) }
  return { bold: style(1), dim: style(2), red: style(31), green: style(32), paint: (mode, text) => hues[mode](text) }
}
