export default {
  typescript: false,
  commands: [() => import('@adonisjs/core/commands'), () => import('@adonisjs/cache/commands')],
  providers: [
    () => import('@adonisjs/core/providers/app_provider'),
    () => import('@adonisjs/redis/redis_provider'),
    () => import('@adonisjs/lucid/database_provider'),
    () => import('@adonisjs/cache/cache_provider'),
  ],
}
