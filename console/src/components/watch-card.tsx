import {
  protocolNames,
  startWatching,
  stopWatching,
  watching,
  watchName,
  watchProtocol,
  watchVideo,
} from '../state/watch.ts'
import type { Protocol } from '../state/watch.ts'
import { Message } from './message.tsx'
import { PhaseBadge } from './phase-badge.tsx'
import { StatsStrip } from './stats-strip.tsx'

export function WatchCard() {
  const phase = watching.phase.value
  const isRunning = phase === 'connecting' || phase === 'live'
  return (
    <section class="card" id="watch" aria-labelledby="watch-title">
      <div class="card-head">
        <h2 id="watch-title">Watch</h2>
        <PhaseBadge phase={phase} testid="watch-state" />
      </div>
      <div class="screen">
        <video
          ref={(element) => {
            watchVideo.current = element
          }}
          data-testid="watch-video"
          autoplay
          muted
          playsInline
          controls={phase === 'live'}
          aria-label="The stream that is watched"
        />
        {!isRunning && <p class="hint">The stream as it comes out of the gateway</p>}
        {phase === 'connecting' && <p class="hint">Connecting …</p>}
      </div>
      <form
        class="controls"
        onSubmit={(event) => {
          event.preventDefault()
          void startWatching()
        }}
      >
        <label class="grow">
          Stream
          <input
            data-testid="watch-stream"
            value={watchName.value}
            disabled={isRunning}
            spellcheck={false}
            autocomplete="off"
            onInput={(event) => {
              watchName.value = event.currentTarget.value
            }}
          />
        </label>
        <label>
          Protocol
          <select
            data-testid="watch-protocol"
            value={watchProtocol.value}
            disabled={isRunning}
            onChange={(event) => {
              watchProtocol.value = event.currentTarget.value as Protocol
            }}
          >
            {Object.entries(protocolNames).map(([value, name]) => (
              <option key={value} value={value}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <button type="submit" class="primary" data-testid="watch-start" disabled={isRunning}>
          Watch
        </button>
        <button
          type="button"
          data-testid="watch-stop"
          disabled={!isRunning}
          onClick={() => void stopWatching()}
        >
          Stop
        </button>
      </form>
      <Message text={watching.message.value} isError={phase === 'failed'} />
      <StatsStrip stats={watching.stats.value} frames="decoded" framesTestid="watch-frames" />
    </section>
  )
}
