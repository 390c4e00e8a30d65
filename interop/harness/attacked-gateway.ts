import { type Bystanders, startBystanders } from './bystanders.ts'
import { type DemoOriginProcess, startDemoOrigin } from './demo-origin.ts'
import { type Gateway, startGateway } from './gateway.ts'
import { type HostileOrigin, startHostileOrigin } from './hostile-origin.ts'
import type { ProgramEnd } from './program.ts'
import { startStandInOrigin } from './stand-in-origin.ts'

/** A gateway with every TCP port of media open, three origins, and clients who must not notice what others do to it. */
export interface AttackedGateway {
  readonly gateway: Gateway
  readonly files: HostileOrigin
  readonly demo: DemoOriginProcess
  readonly bystanders: Bystanders
  /** Of ICE-TCP. */
  readonly tcpPort: number
  /** Ends all of it; how the gateway ended. */
  stop(): Promise<ProgramEnd>
}

/** `media`: keys of that section beside the listeners. */
export async function startAttackedGateway(
  media: Readonly<Record<string, unknown>> = {},
): Promise<AttackedGateway> {
  const files = await startHostileOrigin()
  const gateway = await startGateway({
    collectsGarbage: true,
    config: {
      origins: [files.config],
      balancer: {
        apps: [
          { app: 'hls', origins: ['files'] },
          { app: 'rtc', origins: ['stand-in'] },
          { app: '*', origins: ['sluice-demo'] },
        ],
      },
      media: {
        http: { secureListen: ['127.0.0.1:0'] },
        rtmp: { secureListen: ['127.0.0.1:0'] },
        webrtc: { tcpListen: ['127.0.0.1:0'], iceTcp: true },
        ...media,
      },
    },
  })
  const demo = await startDemoOrigin(gateway.registrationUrl)
  const echo = await startStandInOrigin(gateway.registrationUrl)
  const tcpPort = await gateway.program.line(
    (line) => /"127\.0\.0\.1:(\d+)".*"ICE-TCP listening"/.exec(line)?.[1],
  )
  const bystanders = await startBystanders(gateway, {
    live: 'live/run',
    playlist: 'hls/run.m3u8',
    webrtc: 'rtc/run',
  })
  return {
    gateway,
    files,
    demo,
    bystanders,
    tcpPort: Number(tcpPort),
    async stop() {
      await bystanders[Symbol.asyncDispose]()
      for (const origin of [echo, demo, files]) await origin[Symbol.asyncDispose]()
      return await gateway.stop()
    },
  }
}
