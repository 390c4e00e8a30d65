import { isReachable } from '../state/gateway.ts'
import { ThemeButton } from './theme-button.tsx'

export function Header() {
  return (
    <header>
      <svg class="logo" viewBox="0 0 32 32" aria-hidden="true">
        <rect width="32" height="32" rx="8" />
        <path class="gate" d="M8 7v18M24 7v18M8 9h16" />
        <path
          class="water"
          d="M12 16c1.4-1.5 2.6-1.5 4 0s2.600 1.500 4 0M12 21.500c1.400-1.500 2.600-1.500 4 0s2.600 1.500 4 0"
        />
      </svg>
      <div class="brand">
        <h1>Sluice</h1>
        <p>one gateway for live media</p>
      </div>
      <GatewayState />
      <ThemeButton />
    </header>
  )
}

function GatewayState() {
  const reachable = isReachable.value
  if (reachable === undefined) return null
  return (
    <span class={`badge ${reachable ? 'good' : 'bad'}`}>
      {reachable ? 'gateway running' : 'gateway not reachable'}
    </span>
  )
}
