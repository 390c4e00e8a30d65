import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Child } from './child.ts'

/** Resolves when somebody takes connections on the port. @throws when the program ends before, or takes too long */
export async function untilListening(child: Child, port: number, withinMs: number): Promise<void> {
  const deadline = performance.now() + withinMs
  while (performance.now() < deadline && child.isRunning) {
    if (await isListening(port)) return
    await sleep(50)
  }
  throw child.failure('it does not listen')
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    const settle = (isOpen: boolean): void => {
      socket.destroy()
      resolve(isOpen)
    }
    socket.once('connect', () => settle(true)).once('error', () => settle(false))
  })
}
