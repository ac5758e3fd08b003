import { defineConfig } from 'vitest/config'

const SCHEDULES = 'test/behaviour/schedules.test.ts'

export default defineConfig({
  test: {
    allowOnly: false,
    maxWorkers: 2,
    pool: 'forks',
    projects: [
      {
        extends: true,
        test: {
          name: 'fast',
          include: ['test/{unit,behaviour,types}/**/*.test.ts'],
          exclude: [SCHEDULES],
          // Half the time; they share no state but what they import, which a test may not change.
          isolate: false,
          testTimeout: 30_000,
        },
      },
      {
        // A process of its own: a factory that another test has left hanging makes every promise dearer.
        extends: true,
        test: { name: 'fast, alone', include: [SCHEDULES] },
      },
      {
        // Real servers and processes: one file at a time, or they would measure each other.
        extends: true,
        test: {
          name: 'real',
          include: ['test/{drivers,fleet,process,compat,clients,demo,package}/**/*.test.ts'],
          fileParallelism: false,
          // The bars are measured in real time on a machine that may be shared; a wrong answer stays wrong.
          retry: 1,
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
})
