import type { Result } from '../result.ts'
import { costText } from './format.ts'

const columns = 2
const columnWidth = 480
const labelWidth = 118
const valueWidth = 78
const barHeight = 14
const pitch = 19
const titleHeight = 30
const groupGap = 18
const margin = 16
const headHeight = 52

const caption =
  'Delivered per CPU-second: thousands (k) of datagrams or requests, or megabytes. Longer is better.'

/** Light and dark by what the reader's system prefers; the ground is the page's. */
const style = `
  text { font: 12px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600 }
  .value { fill: #59636e }
  .native { fill: #0969da }
  .ours { fill: #8dbdf0 }
  .peer { fill: #afb8c1 }
  .spread { stroke: #1f2328; stroke-width: 1 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .value { fill: #9198a1 }
    .native { fill: #4493f8 }
    .ours { fill: #2a4d7a }
    .peer { fill: #59636e }
    .spread { stroke: #e6edf3 }
  }`

/**
 * Units per CPU-second as SVG: a group of bars per scenario, each with a scale of its own, since a train costs a
 * tenth of single datagrams. The thin line goes from the least round to the greatest.
 */
export function plot(results: readonly Result[]): string {
  const names = [...new Set(results.map(({ scenario }) => scenario))]
  const groups = names.map((name) => results.filter(({ scenario }) => scenario === name))
  const bottoms = Array.from({ length: columns }, () => headHeight)
  const parts = groups.map((group) => {
    // Into the column that is shorter so far.
    const column = bottoms.indexOf(Math.min(...bottoms))
    const top = bottoms[column] ?? headHeight
    bottoms[column] = top + titleHeight + group.length * pitch + groupGap
    return `<g transform="translate(${margin + column * columnWidth} ${top})">${barGroup(group)}</g>`
  })
  const [width, height] = [2 * margin + columns * columnWidth, Math.max(...bottoms)]
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">
<title>${caption}</title>
<style>${style}
</style>
<text x="${margin}" y="26">${caption}</text>
${parts.join('\n')}
</svg>
`
}

function barGroup(group: readonly Result[]): string {
  const most = Math.max(...group.map(({ max, perCpuSecond = 0 }) => max.perCpuSecond ?? perCpuSecond))
  const room = columnWidth - labelWidth - valueWidth - margin
  const across = (value: number): number => Math.round((value / most) * room)
  const title = group[0]?.scenario ?? ''
  const bars = group.map((result, index) => {
    const { subject, perCpuSecond = 0, min, max } = result
    const y = titleHeight + index * pitch
    const middle = y + barHeight / 2
    const [from, to] = [min.perCpuSecond ?? perCpuSecond, max.perCpuSecond ?? perCpuSecond].map(
      (value) => labelWidth + across(value),
    )
    return [
      `<text x="${labelWidth - 8}" y="${middle + 4}" text-anchor="end">${escapeText(subject)}</text>`,
      `<rect class="${colour(subject)}" x="${labelWidth}" y="${y}" width="${across(perCpuSecond)}" height="${barHeight}" rx="2"/>`,
      `<path class="spread" d="M${from} ${middle}H${to}"/>`,
      `<text class="value" x="${(to ?? 0) + 6}" y="${middle + 4}">${costText(perCpuSecond, result.unit)}</text>`,
    ].join('')
  })
  return `<text class="title" y="16">${escapeText(title)}</text>\n${bars.join('\n')}`
}

function colour(subject: string): 'native' | 'ours' | 'peer' {
  if (subject.endsWith(' native')) return 'native'
  return /^(gateway|engine|sluice)\b/.test(subject) ? 'ours' : 'peer'
}

function escapeText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}
