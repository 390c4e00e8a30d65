import type { ComponentChildren } from 'preact'
import type { MediaStats } from '../media/rtc-stats.ts'

interface Props {
  readonly stats: MediaStats
  /** `decoded` or `encoded` */
  readonly frames: string
  readonly framesTestid?: string
}

/** The numbers of a session in one row. */
export function StatsStrip({ stats, frames, framesTestid }: Props) {
  const { bitsPerSecond, codec, framesPerSecond, height, packetsLost, roundTripMs, width } = stats
  return (
    <dl class="stats">
      <Stat name={`frames ${frames}`} testid={framesTestid}>
        {stats.frames ?? 0}
      </Stat>
      <Stat name="bit rate">{bitsPerSecond === undefined ? '–' : bitRate(bitsPerSecond)}</Stat>
      <Stat name="codec">{codec ?? '–'}</Stat>
      <Stat name="picture">{width === undefined ? '–' : `${width}×${height}`}</Stat>
      {framesPerSecond !== undefined && <Stat name="frame rate">{Math.round(framesPerSecond)}/s</Stat>}
      {roundTripMs !== undefined && <Stat name="round trip">{Math.round(roundTripMs)} ms</Stat>}
      {packetsLost !== undefined && <Stat name="packets lost">{packetsLost}</Stat>}
    </dl>
  )
}

interface StatProps {
  readonly name: string
  readonly testid?: string | undefined
  readonly children: ComponentChildren
}

function Stat({ name, testid, children }: StatProps) {
  return (
    <div>
      <dt>{name}</dt>
      <dd data-testid={testid}>{children}</dd>
    </div>
  )
}

function bitRate(bitsPerSecond: number): string {
  return bitsPerSecond < 1e6
    ? `${Math.round(bitsPerSecond / 1e3)} kbit/s`
    : `${(bitsPerSecond / 1e6).toFixed(1)} Mbit/s`
}
