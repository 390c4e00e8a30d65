import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

/** What stands between the load's origin and its viewers: the gateway or a relay that it is compared with. */
export interface Subject {
  readonly pid: number
  /** What the load tool is told to find it. */
  readonly loadOptions: readonly string[]
  close(): Promise<void>
}

const startDeadlineMs = 15_000
const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

/** Starts a relay of `peers/` for an origin's port; it prints the port on which it listens. */
export async function startPeer(
  file: string,
  originPort: number,
  mode: readonly string[],
  option: (port: string) => readonly string[],
): Promise<Subject> {
  const child = spawn(
    process.execPath,
    ['--import', 'tsx', here(`peers/${file}`), String(originPort), ...mode],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  const port = await firstLine(child)
  return { pid: child.pid ?? 0, loadOptions: option(port), close: () => stop(child) }
}

/** Starts the gateway from `dist` with a configuration of free ports. */
export async function startGateway(scheme: 'http' | 'rtmp'): Promise<Subject> {
  const [http, rtmp, webrtc, registration, admin] = (await freePorts(5)) as [
    number,
    number,
    number,
    number,
    number,
  ]
  const directory = mkdtempSync(join(tmpdir(), 'sluice-bench-'))
  const config = join(directory, 'sluice.toml')
  writeFileSync(
    config,
    `log.level = "warn"
registration.listen = "127.0.0.1:${registration}"
admin.listen = "127.0.0.1:${admin}"
[media]
http = { listen = ["127.0.0.1:${http}"] }
rtmp = { listen = ["127.0.0.1:${rtmp}"] }
webrtc = { listen = "127.0.0.1:${webrtc}" }
`,
  )
  const child = spawn(process.execPath, [here('../dist/cli/main.js'), 'run', '-c', config], {
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  const close = async (): Promise<void> => {
    await stop(child)
    rmSync(directory, { recursive: true })
  }
  try {
    await untilReady(child, `http://127.0.0.1:${admin}/healthz`)
  } catch (error) {
    await close()
    throw error
  }
  const gateway = scheme === 'http' ? `http://127.0.0.1:${http}` : `127.0.0.1:${rtmp}`
  return {
    pid: child.pid ?? 0,
    loadOptions: ['--gateway', gateway, '--register', `http://127.0.0.1:${registration}`],
    close,
  }
}

/** User and system time of a process so far, in seconds. */
export function cpuSeconds(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
  // The name, in brackets, may contain spaces; user and system time are the 12th and 13th field after it.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const ticksPerSecond = 100
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
}

/** The largest resident size of a process so far, in bytes. */
export function peakMemoryBytes(pid: number): number {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/VmHWM:\s+(\d+)/.exec(text)?.[1] ?? 0) * 1024
}

/** Ports that were free a moment ago. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const ports = servers.map((server) => {
    const address = server.address()
    return typeof address === 'object' && address !== null ? address.port : 0
  })
  for (const server of servers) server.close()
  return ports
}

/** Resolves to the next line of the child's output; rejects when it ends or says nothing in time. */
export async function firstLine(child: ChildProcess): Promise<string> {
  const lines = readLines(child)
  return lines(startDeadlineMs)
}

/** Reads a child's output line by line, each with a deadline. */
export function readLines(child: ChildProcess): (deadlineMs: number) => Promise<string> {
  if (child.stdout === null) throw new Error('the child has no output')
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return async (deadlineMs) => {
    const late = AbortSignal.timeout(deadlineMs)
    const line = await Promise.race([
      lines.next(),
      once(late, 'abort').then(() => {
        throw new Error(`${child.spawnargs.join(' ')}: no output in ${deadlineMs} ms`)
      }),
    ])
    if (line.done === true) throw new Error(`${child.spawnargs.join(' ')}: ended`)
    return line.value
  }
}

/** Ends a child and waits for it. */
export async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill('SIGKILL')
  await exit
}

async function untilReady(child: ChildProcess, url: string): Promise<void> {
  const deadline = performance.now() + startDeadlineMs
  while (performance.now() < deadline && child.exitCode === null) {
    const response = await fetch(url).catch(() => undefined)
    if (response?.ok === true) return
    await new Promise((resolve) => {
      setTimeout(resolve, 100)
    })
  }
  throw new Error(`the gateway is not ready at ${url}; was it built (npm run build)?`)
}
