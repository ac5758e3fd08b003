// The result as a picture: one card with its own background, light or dark as the reader's system is.
import { cpus } from 'node:os'
import { describe } from './modes.mjs'
import { number, plural } from './words.mjs'

const WIDTH = 860
const TOP = 124 // of the first row
const ROW = 58
const BARS = { left: 282, width: 450, height: 28, least: 5 }

const STYLE = `
    text { font-family: system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
    .card { fill: #ffffff; stroke: #d1d9e0 } .title { font-size: 22px; font-weight: 600 } .muted { fill: #59636e }
    .small { font-size: 13px } .mode { font-size: 16px; font-weight: 600 } .queries { font-size: 20px; font-weight: 700 }
    .axis { stroke: #d1d9e0 } .unprotected { fill: #d1242f } .process { fill: #1a7f37 } .processes { fill: #bc7c00 } .fleet { fill: #0969da }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc } .card { fill: #0d1117; stroke: #3d444d } .muted { fill: #9198a1 } .axis { stroke: #3d444d }
      .unprotected { fill: #f85149 } .process { fill: #3fb950 } .processes { fill: #d29922 } .fleet { fill: #58a6ff }
    }`

/** @returns the text of an SVG file */
export function drawPicture(results, options) {
  const height = TOP + results.length * ROW + 44
  const title = `${plural(options.clients, 'client asks', 'clients ask')} for one missing post at the same moment`
  const summary = results.map(({ mode, queries }) => `${mode} ${number(queries)}`).join(', ')
  const most = Math.max(...results.map(({ queries }) => queries))
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-labelledby="title summary">
  <title id="title">${title}</title>
  <desc id="summary">Database queries: ${summary}</desc>
  <style>${STYLE}
  </style>
  <rect class="card" x="0.5" y="0.5" width="${WIDTH - 1}" height="${height - 1}" rx="10" />
  <text class="title" x="32" y="50">${title}</text>
  <text class="muted" x="32" y="76" font-size="15">How many queries reach the database? Each of them takes ${number(options.queryMs)} ms.</text>
  <line class="axis" x1="${BARS.left}" x2="${BARS.left}" y1="${TOP - 12}" y2="${TOP + results.length * ROW - 12}" />
${results.map((result, n) => row(result, TOP + n * ROW, most, options)).join('\n')}
  <text class="muted small" x="32" y="${height - 22}">${escape(provenance())}</text>
</svg>
`
}

function row({ mode, queries }, y, most, options) {
  const width = Math.max(BARS.least, Math.round((queries / most) * BARS.width))
  return `  <text class="mode" x="32" y="${y + 12}">${mode}</text>
  <text class="muted small" x="32" y="${y + 31}">${describe(mode, options).setup}</text>
  <rect class="${mode}" x="${BARS.left}" y="${y}" width="${width}" height="${BARS.height}" rx="3" />
  <text class="queries" x="${BARS.left + width + 10}" y="${y + 21}">${number(queries)}</text>`
}

function provenance() {
  const cores = cpus()
  const date = new Date().toISOString().slice(0, 10)
  return `npm start · ${date} · Node ${process.versions.node} · ${cores.length} × ${cores[0]?.model.trim() ?? 'unknown processor'}`
}

function escape(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}
