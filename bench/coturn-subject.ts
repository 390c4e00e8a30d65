import { createSocket } from 'node:dgram'
import { mkdtempSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Child } from './child.ts'
import { freePorts } from './free-ports.ts'
import { relayOption } from './peer-subject.ts'
import { startDeadlineMs, type Subject, type SubjectKind } from './subject.ts'

/** coturn on the terms of the others: a thread per core, long-term credentials, every peer on loopback, no log. */
export function coturn(executable: string): SubjectKind {
  return { name: 'coturn', start: () => startCoturn(executable) }
}

async function startCoturn(executable: string): Promise<Subject> {
  const [port = 0] = await freePorts(1)
  const directory = mkdtempSync(join(tmpdir(), 'coturn-bench-'))
  const child = new Child(executable, [
    ...['-n', '--no-cli', '--no-tls', '--no-dtls', '--no-tcp', '--no-rfc5780'],
    ...['-L', '127.0.0.1', '-E', '127.0.0.1', '-p', String(port), '--allow-loopback-peers'],
    ...['-m', String(availableParallelism())],
    ...['-a', '-u', 'bench:bench', '-r', 'bench', '--no-software-attribute'],
    ...['--no-stdout-log', '--simple-log', '-l', '/dev/null'],
    ...['--pidfile', join(directory, 'pid'), '-b', join(directory, 'users')],
  ])
  const close = async (): Promise<void> => {
    await child.stop()
    rmSync(directory, { recursive: true })
  }
  try {
    await untilAnswered(child, port)
  } catch (error) {
    await close()
    throw error
  }
  return { children: [child], loadOptions: relayOption(String(port)), close }
}

/** It does not say when it is ready; a Binding request is answered then. */
async function untilAnswered(child: Child, port: number): Promise<void> {
  const request = Buffer.from('000100002112a442000000000000000000000001', 'hex')
  const socket = createSocket('udp4')
  let isAnswered = false
  socket.on('message', () => {
    isAnswered = true
  })
  try {
    const deadline = performance.now() + startDeadlineMs
    while (performance.now() < deadline && child.isRunning) {
      socket.send(request, port, '127.0.0.1')
      await sleep(50)
      if (isAnswered) return
    }
  } finally {
    socket.close()
  }
  throw child.failure('it does not answer')
}
