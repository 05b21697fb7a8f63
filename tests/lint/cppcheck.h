/* Seen by cppcheck only: macros of system headers that it does not read, in a form it follows. */
#define LIST_HEAD(name, type)                                                                      \
    struct {                                                                                       \
        struct type *first;                                                                        \
    }
#define LIST_ENTRY(type)                                                                           \
    struct {                                                                                       \
        struct type *next;                                                                         \
    }
#define TAILQ_HEAD(name, type)  LIST_HEAD(name, type)
#define TAILQ_ENTRY(type)       LIST_ENTRY(type)
#define STAILQ_HEAD(name, type) LIST_HEAD(name, type)
#define STAILQ_ENTRY(type)      LIST_ENTRY(type)
#define LIST_FOREACH(variable, head, field)                                                        \
    for ((variable) = (head)->first; (variable) != NULL; (variable) = (variable)->field.next)
#define TAILQ_FOREACH(variable, head, field)  LIST_FOREACH(variable, head, field)
#define STAILQ_FOREACH(variable, head, field) LIST_FOREACH(variable, head, field)
struct json_object;
int next_member(struct json_object *object, char **key, struct json_object **value);
#define json_object_object_foreach(object, key, value)                                             \
    char *key = 0;                                                                                 \
    struct json_object *value = 0;                                                                 \
    while (next_member(object, &key, &value))
