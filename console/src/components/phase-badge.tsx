import type { Phase } from '../state/session.ts'

const tones: Readonly<Record<Phase, string>> = {
  idle: '',
  connecting: 'busy',
  live: 'good',
  ended: '',
  failed: 'bad',
}

export function PhaseBadge({ phase, testid }: { readonly phase: Phase; readonly testid: string }) {
  return (
    <span class={`badge ${tones[phase]}`} data-testid={testid} data-state={phase} role="status">
      {phase}
    </span>
  )
}
