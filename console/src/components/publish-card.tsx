import { useEffect, useRef } from 'preact/hooks'
import { sourceNames } from '../media/sources.ts'
import type { SourceName } from '../media/sources.ts'
import {
  preview,
  publishing,
  publishName,
  publishSource,
  startPublishing,
  stopPublishing,
} from '../state/publish.ts'
import { Message } from './message.tsx'
import { PhaseBadge } from './phase-badge.tsx'
import { StatsStrip } from './stats-strip.tsx'

export function PublishCard() {
  const phase = publishing.phase.value
  const isRunning = phase === 'connecting' || phase === 'live'
  return (
    <section class="card" aria-labelledby="publish-title">
      <div class="card-head">
        <h2 id="publish-title">Publish</h2>
        <PhaseBadge phase={phase} testid="publish-state" />
      </div>
      <Preview />
      <form
        class="controls"
        onSubmit={(event) => {
          event.preventDefault()
          void startPublishing()
        }}
      >
        <label class="grow">
          Stream
          <input
            data-testid="publish-stream"
            value={publishName.value}
            disabled={isRunning}
            spellcheck={false}
            autocomplete="off"
            onInput={(event) => {
              publishName.value = event.currentTarget.value
            }}
          />
        </label>
        <label>
          Source
          <select
            data-testid="publish-source"
            value={publishSource.value}
            disabled={isRunning}
            onChange={(event) => {
              publishSource.value = event.currentTarget.value as SourceName
            }}
          >
            {Object.entries(sourceNames).map(([value, name]) => (
              <option key={value} value={value}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <button type="submit" class="primary" data-testid="publish-start" disabled={isRunning}>
          Publish
        </button>
        <button
          type="button"
          data-testid="publish-stop"
          disabled={!isRunning}
          onClick={() => void stopPublishing()}
        >
          Stop
        </button>
      </form>
      <Message text={publishing.message.value} isError={phase === 'failed'} />
      <StatsStrip stats={publishing.stats.value} frames="encoded" />
    </section>
  )
}

function Preview() {
  const video = useRef<HTMLVideoElement>(null)
  const media = preview.value
  useEffect(() => {
    if (video.current !== null) video.current.srcObject = media ?? null
  }, [media])
  return (
    <div class="screen">
      <video ref={video} autoplay muted playsInline aria-label="Preview of what is published" />
      {media === undefined && <p class="hint">Camera, screen or a test picture, sent by WHIP</p>}
    </div>
  )
}
