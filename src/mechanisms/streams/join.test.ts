import { readdirSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Addon } from '../datapath/engine-native/addon.ts'
import { requireAddon } from '../datapath/engine-native/addon.testkit.ts'
import { openConnection } from '../net/sockets.testkit.ts'
import { pieces, Reader } from './conformance.testkit.ts'
import { joinConformance } from './join-conformance.testkit.ts'
import { joinStreams } from './join.ts'
import { memoryStreamPair } from './memory-stream.testkit.ts'
import { NativeJoiner } from './native-joiner.ts'
import { socketStream } from './socket-stream.ts'

describe('joined in JavaScript', () => joinConformance(() => ({})))
